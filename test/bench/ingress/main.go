// The rig of the benchmark: an ingress for the relays, a far network, a client
// that makes the load and measures it, and the forwarding loops of ngrok's Go
// programs. It is in Go because, of Debian's programs, its TLS server costs
// least: half the CPU of OpenSSL 3.0 for a handshake, and as much for bulk data.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

func main() {
	programs := map[string]func([]string){
		"ingress": runIngress,
		"delay":   runDelay,
		"load":    runLoad,
		"forward": runForward,
	}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fail(fmt.Errorf("usage: %s ingress|delay|load|forward -name=value...", os.Args[0]))
	}
	programs[os.Args[1]](os.Args[2:])
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// One line of JSON for the benchmark.
func say(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail(err)
	}
}

// On a free port of 127.0.0.1.
func listen() (net.Listener, int) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	return listener, listener.Addr().(*net.TCPAddr).Port
}

func accept(listener net.Listener) net.Conn {
	conn, err := listener.Accept()
	if err != nil {
		fail(err)
	}
	return conn
}

// Settings for `who` ("server" or "client") from a folder with ca.pem, who.pem
// and who.key.pem: TLS 1.3, with verification of both sides.
func tlsConfig(folder, who string) *tls.Config {
	ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		fail(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	cert, err := tls.LoadX509KeyPair(filepath.Join(folder, who+".pem"), filepath.Join(folder, who+".key.pem"))
	if err != nil {
		fail(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ServerName:   "127.0.0.1",
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
	}
}
