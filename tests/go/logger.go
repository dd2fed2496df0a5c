package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/rpc"
	"sync"

	"google.golang.org/grpc"
)

type storedEntry struct {
	Payload
	By string `json:"by"`
}

// memory takes the place of the course's MongoDB. Nothing that is called "refused" can be stored.
type memory struct {
	mutex   sync.Mutex
	entries []storedEntry
}

func (m *memory) insert(by, name, data string) error {
	if name == "refused" {
		return errors.New("server selection error: context deadline exceeded")
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.entries = append(m.entries, storedEntry{Payload{name, data}, by})
	return nil
}

// logger serves HTTP, net/rpc and gRPC; GET /stored is for the test, and shows what it has.
func logger(flags *flag.FlagSet) func() error {
	path := flags.String("path", "/log", "where HTTP is served: /log in go-micro, /api/log in go-microservices")
	bare := flags.Bool("bare", false, "without any of the calls, as another server would be")
	return func() error {
		store := &memory{}
		listeners, err := listen("logger", "http", "rpc", "grpc")
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/stored", func(w http.ResponseWriter, _ *http.Request) {
			store.mutex.Lock()
			defer store.mutex.Unlock()
			writeJSON(w, http.StatusOK, append([]storedEntry{}, store.entries...))
		})
		calls, remote := rpc.NewServer(), grpc.NewServer()
		if !*bare {
			mux.HandleFunc(*path, store.writeLog)
			if err := calls.Register(&RPCServer{store}); err != nil {
				return err
			}
			remote.RegisterService(&logService, store)
		}
		go acceptRPC(calls, listeners[1])
		go func() { _ = remote.Serve(listeners[2]) }()
		return http.Serve(listeners[0], mux)
	}
}

func (m *memory) writeLog(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var payload Payload
	_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&payload)
	if err := m.insert("http", payload.Name, payload.Data); err != nil {
		writeJSON(w, http.StatusBadRequest, jsonResponse{Error: true, Message: err.Error()})
		return
	}
	writeJSON(w, http.StatusAccepted, jsonResponse{Message: "logged"})
}

// RPCServer is what net/rpc serves.
type RPCServer struct{ store *memory }

// LogInfo stores one entry.
func (r *RPCServer) LogInfo(payload RPCPayload, reply *string) error {
	if err := r.store.insert("rpc", payload.Name, payload.Data); err != nil {
		return err
	}
	*reply = "Processed payload via RPC:" + payload.Name
	return nil
}

func acceptRPC(server *rpc.Server, listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go server.ServeConn(connection)
	}
}

// WriteLog is what gRPC serves.
func (m *memory) WriteLog(_ context.Context, request *LogRequest) (*LogResponse, error) {
	entry := request.LogEntry
	if err := m.insert("grpc", entry.Name, entry.Data); err != nil {
		return &LogResponse{Result: "failed"}, err
	}
	return &LogResponse{Result: "logged!"}, nil
}
