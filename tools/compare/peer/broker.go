package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gopeer/logspb"
)

// A failure with its status: 503 is certainly not stored, 504 may be.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }

func unavailable(err error) error { return &failure{http.StatusServiceUnavailable, err} }
func unknown(err error) error     { return &failure{http.StatusGatewayTimeout, err} }

type broker struct {
	web    *http.Client
	logURL string
	calls  *rpcPool
	remote logspb.LogServiceClient
	queue  *publisher
}

func brokerCommand(flags *flag.FlagSet) func(context.Context) error {
	listen := flags.String("listen", "127.0.0.1:8080", "where HTTP is served")
	loggerHTTP := flags.String("logger-http", "http://127.0.0.1:8082", "the logger's HTTP")
	loggerRPC := flags.String("logger-rpc", "127.0.0.1:5001", "the logger's net/rpc")
	loggerGRPC := flags.String("logger-grpc", "127.0.0.1:50001", "the logger's gRPC")
	amqpURL := flags.String("amqp", "amqp://guest:guest@127.0.0.1:5672/", "RabbitMQ")
	channels := flags.Int("channels", 8, "channels to publish on")
	rpcConns := flags.Int("rpc-conns", 1, "connections for net/rpc")
	return func(ctx context.Context) error {
		conn, err := grpc.Dial(*loggerGRPC, grpc.WithInsecure())
		if err != nil {
			return err
		}
		defer conn.Close()
		b := &broker{
			web: &http.Client{Transport: &http.Transport{
				MaxIdleConns: 128, MaxIdleConnsPerHost: 128, MaxConnsPerHost: 128,
				IdleConnTimeout: 90 * time.Second, DisableCompression: true,
			}},
			logURL: *loggerHTTP + "/log",
			calls:  newRPCPool(*loggerRPC, *rpcConns),
			remote: logspb.NewLogServiceClient(conn),
			queue:  newPublisher(*amqpURL, *channels),
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/handle", b.handle)
		mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, ".") })
		mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
			if !b.queue.up.Load() {
				writeAnswer(w, http.StatusServiceUnavailable, answer{Error: true, Message: "no RabbitMQ"})
				return
			}
			writeAnswer(w, http.StatusOK, answer{Message: "ready"})
		})
		server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: deadline, IdleTimeout: 2 * time.Minute}
		failed := make(chan error, 1)
		go func() { failed <- server.ListenAndServe() }()
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
		}
		drain, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		return server.Shutdown(drain)
	}
}

type handleBody struct {
	Action    string `json:"action"`
	Transport string `json:"transport"`
	Log       struct {
		Name string `json:"name"`
		Data string `json:"data"`
	} `json:"log"`
}

type accepted struct {
	ID        string `json:"id"`
	Transport string `json:"transport"`
}

func (b *broker) handle(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		writeAnswer(w, http.StatusMethodNotAllowed, answer{Error: true, Message: "use POST"})
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeAnswer(w, http.StatusBadRequest, answer{Error: true, Message: err.Error()})
		return
	}
	var body handleBody
	if err := json.Unmarshal(raw, &body); err != nil {
		writeAnswer(w, http.StatusBadRequest, answer{Error: true, Message: err.Error()})
		return
	}
	if err := checkEntry(body.Log.Name, body.Log.Data); err != nil {
		writeAnswer(w, http.StatusBadRequest, answer{Error: true, Message: err.Error()})
		return
	}
	if body.Transport == "" {
		body.Transport = "http"
	}
	var deliver func(context.Context, *Entry) error
	message := "stored by "
	switch body.Transport {
	case "http":
		deliver = b.overHTTP
	case "rpc":
		deliver = b.overRPC
	case "grpc":
		deliver = b.overGRPC
	case "rabbitmq":
		deliver, message = b.queue.publish, "queued by "
	default:
		text := fmt.Sprintf("unknown transport %q", body.Transport)
		writeAnswer(w, http.StatusBadRequest, answer{Error: true, Message: text})
		return
	}
	now := time.Now()
	entry := Entry{ID: newID(now), Name: body.Log.Name, Data: body.Log.Data, Transport: body.Transport,
		CreatedUS: now.UnixMicro()}
	switch body.Action {
	case "log":
		ctx, cancel := context.WithTimeout(r.Context(), deadline)
		err := deliver(ctx, &entry)
		cancel()
		if err != nil {
			code := http.StatusServiceUnavailable
			var known *failure
			if errors.As(err, &known) {
				code = known.status
			}
			writeAnswer(w, code, answer{Error: true, Message: err.Error()})
			return
		}
	case "echo":
		message = "echoed for "
	default:
		writeAnswer(w, http.StatusBadRequest, answer{Error: true, Message: fmt.Sprintf("unknown action %q", body.Action)})
		return
	}
	writeAnswer(w, http.StatusAccepted, answer{Message: message + body.Transport,
		Data: accepted{ID: entry.ID.String(), Transport: body.Transport}})
}

func (b *broker) overHTTP(ctx context.Context, entry *Entry) error {
	body, err := entry.encode()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.logURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := b.web.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return unavailable(err)
		}
		return unknown(err)
	}
	defer response.Body.Close()
	// Only a body that was read to its end leaves a connection that can be used again.
	said, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return unknown(err)
	}
	if response.StatusCode != http.StatusAccepted {
		return unavailable(fmt.Errorf("the logger answered %d: %s", response.StatusCode, said))
	}
	return nil
}

func (b *broker) overRPC(ctx context.Context, entry *Entry) error {
	var reply string
	payload := RPCPayload{Name: entry.Name, Data: entry.Data, ID: entry.ID[:], CreatedUS: entry.CreatedUS}
	return b.calls.call(ctx, "RPCServer.LogInfo", &payload, &reply)
}

func (b *broker) overGRPC(ctx context.Context, entry *Entry) error {
	_, err := b.remote.WriteLog(ctx, &logspb.LogRequest{LogEntry: &logspb.Log{
		Name: entry.Name, Data: entry.Data, Id: entry.ID[:], CreatedUs: entry.CreatedUS}})
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.Unavailable:
		return unavailable(err)
	}
	return unknown(err)
}
