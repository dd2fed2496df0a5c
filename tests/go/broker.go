package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/rpc"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc"
)

type jsonResponse struct {
	Error   bool   `json:"error"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

type brokerServer struct {
	transport                       string
	loggerHTTP, loggerRPC, loggerGR string
	rabbit                          *amqp.Connection
}

// broker answers POST /handle by the transport of a flag: in the course one comments code out for that.
func broker(flags *flag.FlagSet) func() error {
	server := &brokerServer{}
	flags.StringVar(&server.transport, "transport", "rpc", "http, rpc, rabbitmq or grpc")
	flags.StringVar(&server.loggerHTTP, "logger-http", "", "URL of the logger's /log")
	flags.StringVar(&server.loggerRPC, "logger-rpc", "", "address of the logger's net/rpc")
	flags.StringVar(&server.loggerGR, "logger-grpc", "", "address of the logger's gRPC")
	amqpURL := flags.String("amqp", "", "RabbitMQ")
	return func() error {
		if server.transport == "rabbitmq" {
			connection, err := amqp.Dial(*amqpURL)
			if err != nil {
				return err
			}
			defer connection.Close()
			server.rabbit = connection
		}
		listeners, err := listen("broker", "http")
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/handle", server.handle)
		return http.Serve(listeners[0], mux)
	}
}

func (server *brokerServer) handle(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Action string  `json:"action"`
		Log    Payload `json:"log,omitempty"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request); err != nil {
		writeJSON(w, http.StatusBadRequest, jsonResponse{Error: true, Message: err.Error()})
		return
	}
	by := map[string]func(Payload) (string, error){
		"http": server.overHTTP, "rpc": server.overRPC, "rabbitmq": server.overRabbitMQ, "grpc": server.overGRPC,
	}
	message, err := by[server.transport](request.Log)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, jsonResponse{Error: true, Message: err.Error()})
		return
	}
	writeJSON(w, http.StatusAccepted, jsonResponse{Message: message})
}

func (server *brokerServer) overHTTP(entry Payload) (string, error) {
	body, _ := json.MarshalIndent(entry, "", "\t")
	request, err := http.NewRequest("POST", server.loggerHTTP, bytes.NewBuffer(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	client := &http.Client{}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return "", errors.New("error calling logger service")
	}
	return "logged", nil
}

// RPCPayload is what net/rpc is called with. Each entry dials, and the client is never closed.
type RPCPayload struct {
	Name string
	Data string
}

func (server *brokerServer) overRPC(entry Payload) (string, error) {
	client, err := rpc.Dial("tcp", server.loggerRPC)
	if err != nil {
		return "", err
	}
	var result string
	err = client.Call("RPCServer.LogInfo", RPCPayload{Name: entry.Name, Data: entry.Data}, &result)
	return result, err
}

func (server *brokerServer) overRabbitMQ(entry Payload) (string, error) {
	if err := declareExchange(server.rabbit); err != nil {
		return "", err
	}
	channel, err := server.rabbit.Channel()
	if err != nil {
		return "", err
	}
	defer channel.Close()
	body, _ := json.MarshalIndent(entry, "", "\t")
	err = channel.PublishWithContext(context.Background(), "logs_topic", "log.INFO", false, false,
		amqp.Publishing{ContentType: "text/plain", Body: body})
	return "logged via RabbitMQ", err
}

func (server *brokerServer) overGRPC(entry Payload) (string, error) {
	connection, err := grpc.Dial(server.loggerGR, grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		return "", err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	response := new(LogResponse)
	request := &LogRequest{LogEntry: &Log{Name: entry.Name, Data: entry.Data}}
	err = connection.Invoke(ctx, "/logs.LogService/WriteLog", request, response)
	return fmt.Sprint("logged via gRPC: ", response.Result), err
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
