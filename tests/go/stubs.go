package main

import (
	"context"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
)

// What protoc would make of the course's logs.proto, as far as it is used.

// Log is an entry.
type Log struct {
	Name string `protobuf:"bytes,1,opt,name=name,proto3"`
	Data string `protobuf:"bytes,2,opt,name=data,proto3"`
}

// LogRequest is what WriteLog is called with.
type LogRequest struct {
	LogEntry *Log `protobuf:"bytes,1,opt,name=logEntry,proto3"`
}

// LogResponse is what it answers.
type LogResponse struct {
	Result string `protobuf:"bytes,1,opt,name=result,proto3"`
}

func (m *Log) Reset()                 { *m = Log{} }
func (m *Log) String() string         { return proto.CompactTextString(m) }
func (*Log) ProtoMessage()            {}
func (m *LogRequest) Reset()          { *m = LogRequest{} }
func (m *LogRequest) String() string  { return proto.CompactTextString(m) }
func (*LogRequest) ProtoMessage()     {}
func (m *LogResponse) Reset()         { *m = LogResponse{} }
func (m *LogResponse) String() string { return proto.CompactTextString(m) }
func (*LogResponse) ProtoMessage()    {}

type logServer interface {
	WriteLog(context.Context, *LogRequest) (*LogResponse, error)
}

var logService = grpc.ServiceDesc{
	ServiceName: "logs.LogService",
	HandlerType: (*logServer)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "WriteLog",
		Handler: func(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := new(LogRequest)
			if err := decode(request); err != nil {
				return nil, err
			}
			return server.(logServer).WriteLog(ctx, request)
		},
	}},
}
