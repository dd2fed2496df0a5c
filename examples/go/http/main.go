// Sends an entry over HTTP, with nothing but Go's standard library.
//
//	go run ./examples/go/http BROKER_URL TRANSPORT NAME DATA
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

const tries = 10

type answer struct {
	Message string `json:"message"`
	Data    struct {
		Outcome string `json:"outcome"`
	} `json:"data"`
}

// log sends an entry until its outcome is known: stored, queued or duplicate.
func log(url, transport, name, data string) (string, error) {
	// An id of one's own makes it safe to send the entry again after any failure.
	entry := map[string]string{"id": newID(), "name": name, "data": data}
	body, err := json.Marshal(map[string]any{"action": "log", "transport": transport, "log": entry})
	if err != nil {
		return "", err
	}
	client := http.Client{Timeout: 10 * time.Second}
	for attempt := 0; ; attempt++ {
		var told answer
		wait := 100 * time.Millisecond << attempt
		response, err := client.Post(url+"/handle", "application/json", bytes.NewReader(body))
		if err == nil {
			err = json.NewDecoder(response.Body).Decode(&told)
			response.Body.Close()
		}
		switch {
		case err != nil: // no broker, or no answer
		case response.StatusCode == http.StatusAccepted:
			return told.Data.Outcome, nil
		case retryable(response.StatusCode):
			err = fmt.Errorf("%d: %s", response.StatusCode, told.Message)
			// None with 504: it may be stored; send it again at once.
			seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
			wait = time.Duration(seconds) * time.Second
		default: // fix the entry
			return "", fmt.Errorf("%d: %s", response.StatusCode, told.Message)
		}
		if attempt+1 == tries {
			return "", fmt.Errorf("not accepted after %d tries: %w", tries, err)
		}
		fmt.Fprintln(os.Stderr, "trying again:", err)
		time.Sleep(wait)
	}
}

func retryable(status int) bool {
	return status == 408 || status == 429 || status == 503 || status == 504
}

// newID makes a random UUID.
func newID() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err)
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: http BROKER_URL TRANSPORT NAME DATA")
		os.Exit(2)
	}
	outcome, err := log(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(outcome)
}
