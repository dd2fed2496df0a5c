package main

import (
	"bufio"
	"flag"
	"fmt"
	"net/rpc"
	"os"
	"sync"
)

// calls stores entries over net/rpc by the client of the standard library, as it is. The name of each entry that was
// answered well goes to standard output, in a line of its own; what failed, to standard error.
func calls(flags *flag.FlagSet) func() error {
	address := flags.String("logger-rpc", "", "address of the logger's net/rpc")
	entries := flags.Int("entries", 1, "how many entries")
	connections := flags.Int("connections", 1, "over how many connections, all open at the same time")
	inFlight := flags.Int("in-flight", 1, "calls in flight on each connection")
	prefix := flags.String("prefix", "entry", "what the names begin with")
	method := flags.String("method", "RPCServer.LogInfo", "what is called")
	return func() error {
		clients := make([]*rpc.Client, *connections)
		for i := range clients {
			client, err := rpc.Dial("tcp", *address)
			if err != nil {
				return err
			}
			clients[i] = client
		}
		output := bufio.NewWriter(os.Stdout)
		var mutex sync.Mutex
		var workers sync.WaitGroup
		numbers := make(chan int)
		for _, client := range clients {
			for i := 0; i < *inFlight; i++ {
				workers.Add(1)
				go func(client *rpc.Client) {
					defer workers.Done()
					for number := range numbers {
						name := fmt.Sprintf("%s-%d", *prefix, number)
						var reply string
						err := client.Call(*method, RPCPayload{Name: name, Data: "some data"}, &reply)
						if err == nil && reply != "Processed payload via RPC:"+name {
							err = fmt.Errorf("another's answer: %q", reply)
						}
						mutex.Lock()
						if err == nil {
							fmt.Fprintln(output, name)
							_ = output.Flush()
						} else {
							fmt.Fprintln(os.Stderr, name, err)
						}
						mutex.Unlock()
					}
				}(client)
			}
		}
		for number := 0; number < *entries; number++ {
			numbers <- number
		}
		close(numbers)
		workers.Wait()
		return nil
	}
}
