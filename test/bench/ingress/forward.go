package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"time"
)

// The forwarding loops of ngrok's two Go programs, written again from
// docs/protocol.md: one for the forwarder of ngrok's Kubernetes operator, and
// one for the Go program named ngrokd (0.2, its way for TCP). Both dial the
// ingress for each connection, without a session to resume. They send the
// request in two writes, and await the response without a deadline. Then a pair
// of goroutines copies with the 32 KiB buffers of io.Copy. They differ in three
// things:
//
//	operator  sends an empty pod identity. All connections share one TLS
//	          configuration. The end of each direction closes its receiver.
//	original  copies the TLS configuration for each connection, and looks for
//	          the folder of CAs. The first end of a direction closes both.
//
// Their log lines, and the operator's look-up of the pod behind a connection,
// are left out. Both verify the ingress here; the original does that only if
// the folder exists.
func runForward(args []string) {
	flags := flag.NewFlagSet("forward", flag.ExitOnError)
	folder := flags.String("tls", "", "the folder of the certificates")
	loop := flags.String("loop", "", "operator or original")
	near := flags.String("near", "", "host:port of the ingress")
	far := flags.String("far", "", "host:port of the ingress that is far away")
	flags.Parse(args)
	open, join := operatorDial(tlsConfig(*folder, "client")), operatorJoin
	request := connRequest("relay.bench", 7000)
	switch *loop {
	case "operator":
		request = append(request, emptyIdentity...)
	case "original":
		open, join = originalDial(tlsConfig(*folder, "client")), originalJoin
	default:
		fail(errors.New("-loop is operator or original"))
	}
	ports := map[string]int{}
	for name, ingress := range map[string]string{"near": *near, "far": *far} {
		ingress := ingress
		listener, port := listen()
		ports[name] = port
		go acceptAll(listener, func(client net.Conn) {
			defer client.Close()
			upstream, err := open(ingress)
			if err != nil {
				return
			}
			defer upstream.Close()
			if ask(upstream, request) == nil {
				join(client, upstream)
			}
		})
	}
	say(ports)
	select {}
}

// --- The dial ---------------------------------------------------------------------------------------------------------------------

func operatorDial(config *tls.Config) func(string) (net.Conn, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 3 * time.Minute}, Config: config}
	return func(ingress string) (net.Conn, error) { return dialer.Dial("tcp", ingress) }
}

func originalDial(config *tls.Config) func(string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: 3 * time.Minute}
	return func(ingress string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(ingress)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		own.ServerName = host
		// Its result decides nothing here.
		os.Stat("/etc/ssl/certs/ngrok/")
		return (&tls.Dialer{NetDialer: plain, Config: own}).Dial("tcp", ingress)
	}
}

// --- The header -------------------------------------------------------------------------------------------------------------------

// Field 3 of a ConnRequest, the pod identity, without a field of its own.
var emptyIdentity = []byte{0x1a, 0}

// ConnRequest { host, port } without its length.
func connRequest(host string, port uint64) []byte {
	request := append([]byte{0x0a, byte(len(host))}, host...)
	return binary.AppendUvarint(append(request, 0x10), port)
}

func ask(conn net.Conn, request []byte) error {
	if err := binary.Write(conn, binary.LittleEndian, uint16(len(request))); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var size uint16
	if err := binary.Read(conn, binary.LittleEndian, &size); err != nil {
		return err
	}
	response := make([]byte, size)
	if _, err := io.ReadFull(conn, response); err != nil {
		return err
	}
	// The tag of field 1, the endpoint's id, which a refusal does not have.
	if !bytes.HasPrefix(response, []byte{0x0a}) {
		return errors.New("refused")
	}
	return nil
}

// --- The copies -------------------------------------------------------------------------------------------------------------------

func operatorJoin(client, upstream net.Conn) {
	up := make(chan struct{})
	go func() {
		io.Copy(upstream, client)
		upstream.Close()
		close(up)
	}()
	io.Copy(client, upstream)
	client.Close()
	<-up
}

func originalJoin(client, upstream net.Conn) {
	ended := make(chan struct{}, 2)
	carryAll := func(to, from net.Conn) {
		io.Copy(to, from)
		ended <- struct{}{}
	}
	go carryAll(upstream, client)
	go carryAll(client, upstream)
	<-ended
}
