// Services and clients in Go that speak as the course's do, for the tests: by the same libraries, with the same calls.
// They are our own; nothing of the course's code is in them.
//
//	course broker|listener|logger|calls [flags]
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
)

func main() {
	commands := map[string]func(*flag.FlagSet) func() error{
		"broker": broker, "listener": listener, "logger": logger, "calls": calls,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: course broker|listener|logger|calls [flags]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	run := commands[os.Args[1]](flags)
	_ = flags.Parse(os.Args[2:])
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Payload is what an entry is everywhere in the course.
type Payload struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// listen opens a port of its own for each name, and says where they are.
func listen(service string, names ...string) ([]net.Listener, error) {
	listeners := make([]net.Listener, len(names))
	addresses := make([]string, len(names))
	for i, name := range names {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		listeners[i] = listener
		addresses[i] = name + "=" + listener.Addr().String()
	}
	ready(service, addresses...)
	return listeners, nil
}

func ready(service string, addresses ...string) {
	fmt.Fprintln(os.Stderr, service, "ready", strings.Join(addresses, " "))
}
