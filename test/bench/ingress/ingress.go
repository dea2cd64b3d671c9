package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
)

// The ingress: mutual TLS on two ports. One is bare, for relays that do not
// know ngrok. The other first needs ngrok's upgrade header. The requests of a
// client, any number of them except for the echo:
//
//	e          this byte and all that follow come back
//	d COUNT    COUNT bytes come down
//	u COUNT    COUNT bytes go up, and one comes back for them
//	GET /COUNT HTTP/1.1    the same as d by HTTP; QUERY is the same as u
//
// COUNT is 8 bytes, little-endian, but for HTTP.
func runIngress(args []string) {
	flags := flag.NewFlagSet("ingress", flag.ExitOnError)
	folder := flags.String("tls", "", "the folder of the certificates")
	flags.Parse(args)
	config := tlsConfig(*folder, "server")
	bare, barePort := listen()
	header, headerPort := listen()
	say(map[string]int{"bare": barePort, "header": headerPort})
	go acceptAll(bare, func(conn net.Conn) { serve(tls.Server(conn, config), false) })
	acceptAll(header, func(conn net.Conn) { serve(tls.Server(conn, config), true) })
}

func acceptAll(listener net.Listener, handle func(net.Conn)) {
	for {
		go handle(accept(listener))
	}
}

// Every connection ends with an error, if only that of the read at its end. It
// concerns only its client.
func serve(conn net.Conn, wantsHeader bool) {
	defer conn.Close()
	if wantsHeader && upgrade(conn) != nil {
		return
	}
	for obey(conn) == nil {
	}
}

// ConnResponse { endpoint_id: "ep_bench", proto: "tcp" }, after its length.
// Source: docs/protocol.md.
var answer = []byte("\x0f\x00\x0a\x08ep_bench\x12\x03tcp")

// Reads exactly the header, as ngrok's own reader does. So bytes of the client
// may arrive in the same flight: they are the first of the stream.
func upgrade(conn net.Conn) error {
	header := make([]byte, 2)
	if _, err := io.ReadFull(conn, header); err != nil {
		return err
	}
	request := make([]byte, binary.LittleEndian.Uint16(header))
	if _, err := io.ReadFull(conn, request); err != nil {
		return err
	}
	// The tag of field 1, the host.
	if len(request) == 0 || request[0] != 0x0a {
		return errors.New("not a ConnRequest")
	}
	_, err := conn.Write(answer)
	return err
}

func obey(conn net.Conn) error {
	// Small, since idle connections hold one each.
	command := make([]byte, 64)
	if _, err := io.ReadFull(conn, command[:1]); err != nil {
		return err
	}
	switch command[0] {
	case 'e':
		return echo(conn, command)
	case 'G', 'Q':
		return exchange(conn, command[0])
	case 'P':
		return skipHead(conn)
	case 22:
		return skipRecord(conn)
	}
	if _, err := io.ReadFull(conn, command[1:9]); err != nil {
		return err
	}
	count := int64(binary.LittleEndian.Uint64(command[1:]))
	switch command[0] {
	case 'd':
		return send(conn, count)
	case 'u':
		if err := drop(conn, count); err != nil {
			return err
		}
		_, err := conn.Write(command[:1])
		return err
	}
	return errors.New("unknown command")
}

// An HTTP/1.1 request, of which the first byte was read, and its reply.
func exchange(conn net.Conn, first byte) error {
	head := []byte{}
	last := [1]byte{}
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := io.ReadFull(conn, last[:]); err != nil {
			return err
		}
		head = append(head, last[0])
	}
	var method string
	var count int64
	if _, err := fmt.Sscanf(string(head), "%s /%d ", &method, &count); err != nil {
		return err
	}
	down := count
	if first == 'Q' {
		if err := drop(conn, count); err != nil {
			return err
		}
		down = 1
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", down); err != nil {
		return err
	}
	return send(conn, down)
}

// What a client of a shared listener sends first, of HTTP or of TLS.
func skipHead(conn net.Conn) error {
	last := [1]byte{}
	for ends := 0; ends < 4; {
		if _, err := io.ReadFull(conn, last[:]); err != nil {
			return err
		}
		if last[0] == "\r\n\r\n"[ends] {
			ends++
		} else {
			ends = 0
		}
	}
	return nil
}

func skipRecord(conn net.Conn) error {
	header := [4]byte{}
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return err
	}
	return drop(conn, int64(binary.BigEndian.Uint16(header[2:])))
}

func echo(conn net.Conn, buffer []byte) error {
	for count := 1; ; {
		if _, err := conn.Write(buffer[:count]); err != nil {
			return err
		}
		var err error
		if count, err = conn.Read(buffer); err != nil {
			return err
		}
	}
}

var zeros = make([]byte, 256*1024)

func send(to io.Writer, count int64) error {
	for count > 0 {
		size := count
		if size > int64(len(zeros)) {
			size = int64(len(zeros))
		}
		sent, err := to.Write(zeros[:size])
		if err != nil {
			return err
		}
		count -= int64(sent)
	}
	return nil
}

func drop(from io.Reader, count int64) error {
	buffer := make([]byte, 256*1024)
	for count > 0 {
		size := count
		if size > int64(len(buffer)) {
			size = int64(len(buffer))
		}
		got, err := from.Read(buffer[:size])
		if err != nil {
			return err
		}
		count -= int64(got)
	}
	return nil
}
