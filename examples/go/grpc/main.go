// Sends an entry over gRPC, straight to the logger. The package logs is made of logs.proto:
//
//	protoc -I proto/proto --go_out=. --go-grpc_out=. \
//	  --go_opt=Mlogs.proto=example.org/logs --go-grpc_opt=Mlogs.proto=example.org/logs logs.proto
//
//	grpc LOGGER_ADDRESS NAME DATA
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"example.org/logs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const tries = 10

// log sends an entry until its outcome is known: stored or duplicate.
func log(client logs.LogServiceClient, name, data string) (string, error) {
	// An id of one's own makes it safe to send the entry again after any failure.
	id := newID()
	request := &logs.LogRequest{LogEntry: &logs.Log{Id: &id, Name: name, Data: data}}
	for attempt := 0; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		// While the logger is down, the call waits for it instead of failing at once.
		response, err := client.WriteLog(ctx, request, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return response.Outcome, nil
		}
		if !retryable(status.Code(err)) { // fix the entry
			return "", err
		}
		if attempt+1 == tries {
			return "", fmt.Errorf("not accepted after %d tries: %w", tries, err)
		}
		fmt.Fprintln(os.Stderr, "trying again:", err)
		time.Sleep(100 * time.Millisecond << attempt)
	}
}

func retryable(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.ResourceExhausted: // not stored, or the connection broke
		return true
	case codes.Unknown, codes.DeadlineExceeded, codes.Canceled: // it may be stored
		return true
	}
	return false
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
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: grpc LOGGER_ADDRESS NAME DATA")
		os.Exit(2)
	}
	// Newer versions: grpc.NewClient(…, grpc.WithTransportCredentials(insecure.NewCredentials())).
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer connection.Close()
	outcome, err := log(logs.NewLogServiceClient(connection), os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(outcome)
}
