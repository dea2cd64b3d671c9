package main

import (
	"flag"
	"net"
	"time"
)

// A far network: carries TCP connections to a target, with a fixed delay in
// each direction and without another limit. The kernel completes a local
// connect at once, which a far network cannot do. So the client's bytes are
// held until a round trip after its connect, when a far client could begin to
// send.
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

// Passes the bytes of `from` on, each piece at its time, and then its end. Ends
// if `to` takes no more.
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
	// Later bytes have no receiver.
	for range chunks {
	}
}
