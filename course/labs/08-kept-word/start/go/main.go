// A logger that keeps entries in memory, as the course's first one does.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
)

var (
	mutex   sync.Mutex
	entries = map[string]map[string]any{}
)

func answer(w http.ResponseWriter, status int, message string, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": status >= 400, "message": message, "data": data})
}

func write(w http.ResponseWriter, r *http.Request) {
	entry := map[string]any{}
	// TODO: what is stored when the body is no JSON, and what does the client believe?
	json.NewDecoder(r.Body).Decode(&entry)
	id := fmt.Sprint(entry["id"])
	mutex.Lock()
	defer mutex.Unlock()
	// TODO: 202 promises that the entry is stored. Is it, after a restart?
	entries[id] = entry
	answer(w, 202, "stored", map[string]any{"id": id, "outcome": "stored"})
}

func read(w http.ResponseWriter, r *http.Request) {
	mutex.Lock()
	defer mutex.Unlock()
	if entry, ok := entries[strings.TrimPrefix(r.URL.Path, "/logs/")]; ok {
		answer(w, 200, "found", entry)
	} else {
		answer(w, 404, "no such entry", nil)
	}
}

func main() {
	http.HandleFunc("/log", write)
	http.HandleFunc("/logs/", read)
	panic(http.ListenAndServe(os.Getenv("LOGGER_HTTP_LISTEN"), nil))
}
