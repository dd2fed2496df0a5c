package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"net/rpc"

	amqp "github.com/rabbitmq/amqp091-go"
)

func declareExchange(connection *amqp.Connection) error {
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	defer channel.Close()
	return channel.ExchangeDeclare("logs_topic", "topic", true, false, false, false, nil)
}

// listener consumes a queue of its own with automatic acknowledgement, and hands each message to the logger.
func listener(flags *flag.FlagSet) func() error {
	amqpURL := flags.String("amqp", "", "RabbitMQ")
	loggerHTTP := flags.String("logger-http", "", "URL of the logger's /log; as in go-micro")
	loggerRPC := flags.String("logger-rpc", "", "address of the logger's net/rpc; as in go-microservices")
	return func() error {
		connection, err := amqp.Dial(*amqpURL)
		if err != nil {
			return err
		}
		defer connection.Close()
		if err := declareExchange(connection); err != nil {
			return err
		}
		channel, err := connection.Channel()
		if err != nil {
			return err
		}
		defer channel.Close()
		queue, err := channel.QueueDeclare("", false, false, true, false, nil)
		if err != nil {
			return err
		}
		for _, topic := range []string{"log.INFO", "log.WARNING", "log.ERROR"} {
			if err := channel.QueueBind(queue.Name, topic, "logs_topic", false, nil); err != nil {
				return err
			}
		}
		messages, err := channel.Consume(queue.Name, "", true, false, false, false, nil)
		if err != nil {
			return err
		}
		ready("listener")
		for message := range messages {
			var payload Payload
			_ = json.Unmarshal(message.Body, &payload)
			hand := handOverHTTP
			address := *loggerHTTP
			if *loggerRPC != "" {
				hand, address = handOverRPC, *loggerRPC
			}
			go func() {
				if err := hand(address, payload); err != nil {
					log.Println(err)
				}
			}()
		}
		return errors.New("RabbitMQ has closed the channel")
	}
}

func handOverHTTP(url string, payload Payload) error {
	body, _ := json.MarshalIndent(payload, "", "\t")
	request, err := http.NewRequest("POST", url, bytes.NewBuffer(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return errors.New("the logger answered " + response.Status)
	}
	return nil
}

func handOverRPC(address string, payload Payload) error {
	client, err := rpc.Dial("tcp", address)
	if err != nil {
		return err
	}
	var result string
	return client.Call("RPCServer.LogInfo", payload, &result)
}
