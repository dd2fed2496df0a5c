// Sends each line of standard input to the broker, and says what became of it in a word that is certainly true.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

type log struct {
	ID    string  `json:"id"`
	Name  string  `json:"name"`
	Data  string  `json:"data"`
	Level *string `json:"level,omitempty"`
}

type line struct {
	N         int    `json:"n"`
	Transport string `json:"transport"`
	log
}

type said struct {
	N       int    `json:"n"`
	ID      string `json:"id"`
	Outcome string `json:"outcome"`
	Code    string `json:"code,omitempty"`
}

// newID makes a random UUID.
func newID() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func send(client *http.Client, entry line) said {
	// With an id of our own the entry can be sent again without being stored twice.
	if entry.ID == "" {
		entry.ID = newID()
	}
	result := said{N: entry.N, ID: entry.ID, Outcome: "unknown"}
	body, err := json.Marshal(map[string]any{"action": "log", "transport": entry.Transport, "log": entry.log})
	if err != nil {
		panic(err)
	}
	response, err := client.Post(os.Getenv("BROKER_URL")+"/handle", "application/json", bytes.NewReader(body))
	if err != nil {
		var failed *net.OpError
		if errors.As(err, &failed) && failed.Op == "dial" {
			// Not a byte of the entry was sent.
			result.Outcome = "not_stored"
		}
		return result
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Outcome string `json:"outcome"`
			Code    string `json:"code"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return result
	}
	result.Code = answer.Data.Code
	switch status := response.StatusCode; {
	case status == 202:
		result.Outcome = answer.Data.Outcome
	case status == 408 || status == 429 || status == 503:
		result.Outcome = "not_stored"
	case status >= 400 && status < 500:
		result.Outcome = "rejected"
	}
	return result
}

func main() {
	timeoutMS, err := strconv.Atoi(os.Getenv("TIMEOUT_MS"))
	if err != nil {
		timeoutMS = 1500
	}
	// One client for all: it keeps its connection.
	client := &http.Client{Timeout: time.Duration(timeoutMS) * time.Millisecond}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry line
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			panic(err)
		}
		json.NewEncoder(os.Stdout).Encode(send(client, entry))
	}
}
