package main

import (
	"flag"
	"net"
	"time"
)

// A network that is far away: carries TCP connections to a target, each direction late by a fixed time, and as fast as they come.
// The kernel answers a local connect at once, which a far network cannot: so what a client sends is held until a round trip after its
// connect, which is when a far client could have begun to send.
func runDelay(args []string) {
	flags := flag.NewFlagSet("delay", flag.ExitOnError)
	target := flags.String("to", "", "host:port")
	oneWay := flags.Duration("one-way", 20*time.Millisecond, "how long each direction takes")
	flags.Parse(args)
	listener, port := listen()
	say(map[string]int{"port": port})
	acceptAll(listener, func(client net.Conn) {
		connected := time.Now().Add(2 * *oneWay)
		server, err := net.Dial("tcp4", *target)
		if err != nil {
			client.Close()
			return
		}
		up := make(chan struct{})
		go func() {
			carry(client.(*net.TCPConn), server.(*net.TCPConn), connected, *oneWay)
			close(up)
		}()
		carry(server.(*net.TCPConn), client.(*net.TCPConn), connected, *oneWay)
		<-up
		client.Close()
		server.Close()
	})
}

type chunk struct {
	bytes []byte
	due   time.Time
}

// Sends on what `from` sends, each piece when it is due, and then that it has finished. Ends when `to` takes no more.
func carry(from, to *net.TCPConn, earliest time.Time, late time.Duration) {
	chunks := make(chan chunk, 4096)
	go func() {
		defer close(chunks)
		buffer := make([]byte, 64*1024)
		for {
			count, err := from.Read(buffer)
			sent := time.Now()
			if sent.Before(earliest) {
				sent = earliest
			}
			chunks <- chunk{append([]byte(nil), buffer[:count]...), sent.Add(late)}
			if err != nil {
				return
			}
		}
	}()
	for chunk := range chunks {
		time.Sleep(time.Until(chunk.due))
		if _, err := to.Write(chunk.bytes); err != nil {
			break
		}
	}
	to.CloseWrite()
	// Whatever still comes has nowhere to go.
	for range chunks {
	}
}
