// A logger whose 202 is true: the entry is on the disk before it is answered, and a restart finds it.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const bodyBytes = 1 << 20

type entry struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Data  string `json:"data"`
	Level string `json:"level"`
}

// store is a file to which a line is appended for each entry, and an index of it in memory.
type store struct {
	mutex   sync.Mutex
	file    *os.File
	entries map[string]entry
}

type refused struct {
	status        int
	code, message string
}

func (r *refused) Error() string { return r.message }

func open(dir string) (*store, error) {
	file, err := os.OpenFile(filepath.Join(dir, "entries.jsonl"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	s := &store{file: file, entries: map[string]entry{}}
	reader, sound := bufio.NewReader(file), int64(0)
	for {
		line, err := reader.ReadBytes('\n')
		var found entry
		// Half a record was never answered, since it was never synced whole.
		if err != nil || json.Unmarshal(line, &found) != nil {
			break
		}
		s.entries[found.ID] = found
		sound += int64(len(line))
	}
	if err := file.Truncate(sound); err != nil {
		return nil, err
	}
	// The file's name must be on the disk as well.
	directory, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	return s, directory.Sync()
}

func (s *store) put(e entry) (string, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if there, ok := s.entries[e.ID]; ok {
		if there == e {
			return "duplicate", nil
		}
		return "", &refused{409, "conflict", "the id is stored with other content"}
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = s.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		return "", &refused{503, "storage_full", err.Error()}
	}
	s.entries[e.ID] = e
	return "stored", nil
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// checked is the entry in a body, or why it is none.
func checked(body []byte) (entry, error) {
	var sent struct {
		ID    *string `json:"id"`
		Name  string  `json:"name"`
		Data  string  `json:"data"`
		Level *string `json:"level"`
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object == nil {
		return entry{}, &refused{400, "bad_json", "the body is not a JSON object"}
	}
	if json.Unmarshal(body, &sent) != nil {
		return entry{}, &refused{400, "bad_field", "id, name, data and level are text"}
	}
	e := entry{Name: sent.Name, Data: sent.Data, Level: "info"}
	if sent.Level != nil {
		e.Level = *sent.Level
	}
	if e.Level != "info" && e.Level != "warning" && e.Level != "error" {
		return entry{}, &refused{400, "bad_field", "level must be info, warning or error"}
	}
	if len(e.Name) < 1 || len(e.Name) > 256 {
		return entry{}, &refused{400, "invalid_entry", "name must have 1 to 256 bytes"}
	}
	if sent.ID == nil {
		b := make([]byte, 16)
		if _, err := rand.Read(b); err != nil {
			return entry{}, err
		}
		e.ID = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	} else if !uuid.MatchString(*sent.ID) {
		return entry{}, &refused{400, "bad_field", "id must be a UUID"}
	} else {
		e.ID = strings.ToLower(*sent.ID)
	}
	return e, nil
}

func answer(w http.ResponseWriter, status int, message string, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": status >= 400, "message": message, "data": data})
}

func (s *store) write(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytes))
	if err != nil {
		answer(w, 413, "the body is too large", map[string]any{"code": "too_large"})
		return
	}
	e, err := checked(body)
	outcome := ""
	if err == nil {
		outcome, err = s.put(e)
	}
	var why *refused
	switch {
	case err == nil:
		answer(w, 202, outcome, map[string]any{"id": e.ID, "outcome": outcome})
	case errors.As(err, &why):
		answer(w, why.status, why.message, map[string]any{"code": why.code})
	default:
		answer(w, 503, err.Error(), map[string]any{"code": "unavailable"})
	}
}

func (s *store) read(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	e, ok := s.entries[strings.TrimPrefix(r.URL.Path, "/logs/")]
	s.mutex.Unlock()
	if ok {
		answer(w, 200, "found", e)
	} else {
		answer(w, 404, "no such entry", map[string]any{"code": "not_found"})
	}
}

func main() {
	s, err := open(os.Getenv("DATA_DIR"))
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/log", s.write)
	http.HandleFunc("/logs/", s.read)
	server := &http.Server{Addr: os.Getenv("LOGGER_HTTP_LISTEN")}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		<-stopped
		// Every 202 is on the disk already; requests in hand are answered.
		limit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(limit) != nil {
			// A connection on which nothing was ever sent is no reason to stay.
			server.Close()
		}
		close(ended)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		panic(err)
	}
	<-ended
}
