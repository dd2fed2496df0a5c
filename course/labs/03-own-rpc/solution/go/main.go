// A caller that has many calls in flight on one connection, and knows three outcomes of a call, not two.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	inFlight   = 64
	frameBytes = 16 << 20
	dialTime   = 500 * time.Millisecond
)

type answer struct {
	Seq    uint64          `json:"seq"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

// connection is one TCP connection, and who waits for answers from it.
type connection struct {
	net.Conn
	writing sync.Mutex
	mutex   sync.Mutex
	waiting map[uint64]chan answer // nil once it is lost
}

// expect registers a call; false if the connection is lost.
func (c *connection) expect(seq uint64, waiter chan answer) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.waiting == nil {
		return false
	}
	c.waiting[seq] = waiter
	return true
}

// take removes a call that waits; nil if nobody waits for it any more.
func (c *connection) take(seq uint64) chan answer {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	waiter := c.waiting[seq]
	delete(c.waiting, seq)
	return waiter
}

// read is the one reader. When it ends, everybody who waits is told by a closed channel.
func (c *connection) read() {
	err := func() error {
		for {
			var head [4]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return err
			}
			length := binary.BigEndian.Uint32(head[:])
			if length > frameBytes {
				return fmt.Errorf("a frame of %d bytes", length)
			}
			body := make([]byte, length)
			if _, err := io.ReadFull(c, body); err != nil {
				return err
			}
			var got answer
			if err := json.Unmarshal(body, &got); err != nil {
				return err
			}
			// A late answer finds nobody.
			if waiter := c.take(got.Seq); waiter != nil {
				waiter <- got
			}
		}
	}()
	fmt.Fprintln(os.Stderr, "connection lost:", err)
	c.Close()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, waiter := range c.waiting {
		close(waiter)
	}
	c.waiting = nil
}

// caller keeps one connection, and dials anew when it was lost.
type caller struct {
	mutex   sync.Mutex
	current *connection
	seq     uint64
}

// register finds a connection for a call, and gives it its number.
func (c *caller) register(waiter chan answer) (*connection, uint64, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.seq++
	if c.current != nil && c.current.expect(c.seq, waiter) {
		return c.current, c.seq, nil
	}
	dialled, err := net.DialTimeout("tcp", os.Getenv("RPC_ADDR"), dialTime)
	if err != nil {
		return nil, 0, err
	}
	c.current = &connection{Conn: dialled, waiting: map[uint64]chan answer{c.seq: waiter}}
	go c.current.read()
	return c.current, c.seq, nil
}

func (c *caller) call(params json.RawMessage, timeout time.Duration) map[string]any {
	waiter := make(chan answer, 1)
	conn, seq, err := c.register(waiter)
	if err != nil {
		return map[string]any{"not_sent": err.Error()}
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	body, err := json.Marshal(map[string]any{"seq": seq, "method": "Log.Write", "params": params})
	if err != nil {
		panic(err)
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	conn.writing.Lock()
	// If it fails some of the bytes may have been sent: the reader sees the end, and tells everybody.
	_, err = conn.Write(frame)
	conn.writing.Unlock()
	if err != nil {
		conn.Close()
	}
	select {
	case got, ok := <-waiter:
		switch {
		case !ok:
			return map[string]any{"unknown": "the connection was lost"}
		case got.Error != nil:
			return map[string]any{"error": got.Error}
		default:
			return map[string]any{"result": got.Result}
		}
	case <-deadline.C:
		conn.take(seq)
		return map[string]any{"unknown": "no answer in time"}
	}
}

func main() {
	c := &caller{}
	room := make(chan struct{}, inFlight)
	var output sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			N         int             `json:"n"`
			Params    json.RawMessage `json:"params"`
			TimeoutMS int             `json:"timeout_ms"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			panic(err)
		}
		room <- struct{}{}
		go func() {
			said := c.call(line.Params, time.Duration(line.TimeoutMS)*time.Millisecond)
			said["n"] = line.N
			output.Lock()
			json.NewEncoder(os.Stdout).Encode(said)
			output.Unlock()
			<-room
		}()
	}
	for i := 0; i < inFlight; i++ {
		room <- struct{}{}
	}
}
