package main

import (
	"crypto/tls"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// The load: a client of a relay (or, with -tls, of the ingress itself). It does
// one thing, measures it, and prints the result as JSON.
//
//	-do=echo     one byte there and back on one connection, -count times
//	-do=bulk     -bytes in all, -way=down or up, over -streams connections,
//	             each an exchange of HTTP with -http
//	-do=requests -count exchanges of HTTP on one connection, one after the other
//	-do=connect  new connections to their first echoed byte, -count of them or
//	             for a -time. Either -at-once of them all the time, or
//	             -per-second, whatever their results. With -hold they stay
//	             open until stdin ends, and must then still echo.
func runLoad(args []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	target := flags.String("to", "", "host:port")
	folder := flags.String("tls", "", "the folder of the certificates, to talk TLS to the target")
	what := flags.String("do", "", "echo, bulk or connect")
	count := flags.Int("count", math.MaxInt, "")
	way := flags.String("way", "down", "")
	streams := flags.Int("streams", 1, "")
	bytes := flags.Int64("bytes", 1<<30, "")
	atOnce := flags.Int("at-once", 1, "")
	perSecond := flags.Int("per-second", 0, "")
	span := flags.Duration("time", time.Hour, "")
	hold := flags.Bool("hold", false, "")
	host := flags.String("host", "", "begin each connection with a request to this host")
	http := flags.Bool("http", false, "")
	sni := flags.String("sni", "", "begin each connection with a ClientHello for this host")
	flags.Parse(args)

	dial := func() (net.Conn, error) { return net.Dial("tcp4", *target) }
	if *folder != "" {
		config := tlsConfig(*folder, "client")
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		dial = func() (net.Conn, error) { return tls.Dial("tcp4", *target, config) }
	}
	if greeting := greetingFor(*host, *sni); greeting != nil {
		plain := dial
		dial = func() (net.Conn, error) {
			conn, err := plain()
			if err == nil {
				_, err = conn.Write(greeting)
			}
			return conn, err
		}
	}
	switch *what {
	case "echo":
		if *count == math.MaxInt {
			pingFor(must(dial()), *span)
		} else {
			pingPong(must(dial()), *count)
		}
	case "bulk":
		bulk(dial, *way == "up", *streams, *bytes, *http)
	case "requests":
		requests(must(dial()), *count)
	case "connect":
		arrivals := atMost(*count, *span)
		probes := &probes{dial: dial, hold: *hold}
		if *perSecond > 0 {
			probes.atRate(*perSecond, arrivals)
		} else {
			probes.atOnce(*atOnce, arrivals)
		}
		say(probes.summary())
		if *hold {
			io.Copy(io.Discard, os.Stdin)
			say(map[string]int{"alive": probes.living()})
		}
	default:
		fail(fmt.Errorf("-do=%s is unknown", *what))
	}
}

// The echoed byte is the body of the request.
func greetingFor(host, sni string) []byte {
	if host != "" {
		return []byte("POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\n\r\n")
	}
	if sni == "" {
		return nil
	}
	near, far := net.Pipe()
	go tls.Client(near, &tls.Config{ServerName: sni}).Handshake()
	record := make([]byte, 64*1024)
	size := must(io.ReadFull(far, record[:5]))
	size += must(io.ReadFull(far, record[5:5+int(binary.BigEndian.Uint16(record[3:5]))]))
	far.Close()
	return record[:size]
}

func must[T any](value T, err error) T {
	if err != nil {
		fail(err)
	}
	return value
}

// Times are in milliseconds.
type summary struct {
	Done    int     `json:"done"`
	Failed  int     `json:"failed"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	// The reason of the first failure.
	Reason string `json:"reason"`
}

func summarize(times []time.Duration, took time.Duration) summary {
	result := summary{Done: len(times), Seconds: took.Seconds()}
	if len(times) == 0 {
		return result
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(mark float64) float64 {
		return times[int(math.Ceil(mark*float64(len(times))))-1].Seconds() * 1000
	}
	result.P50, result.P99, result.Max = at(0.5), at(0.99), at(1)
	return result
}

// --- Echo -------------------------------------------------------------------------------------------------------------------------

func pingPong(conn net.Conn, count int) {
	warmUp := count / 10
	times := make([]time.Duration, 0, warmUp+count)
	for len(times) < cap(times) {
		start := time.Now()
		must(0, ping(conn))
		times = append(times, time.Since(start))
	}
	say(summarize(times[warmUp:], 0))
}

func pingFor(conn net.Conn, span time.Duration) {
	times := []time.Duration{}
	for begin := time.Now(); time.Since(begin) < span; {
		start := time.Now()
		must(0, ping(conn))
		times = append(times, time.Since(start))
	}
	say(summarize(times, span))
}

func ping(conn net.Conn) error {
	buffer := [1]byte{'e'}
	if _, err := conn.Write(buffer[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, buffer[:])
	return err
}

// --- Bulk -------------------------------------------------------------------------------------------------------------------------

func bulk(dial func() (net.Conn, error), up bool, streams int, bytes int64, http bool) {
	download, upload := download, upload
	if http {
		download, upload = get, query
	}
	conns := make([]net.Conn, streams)
	for i := range conns {
		conns[i] = must(dial())
		// The connection is open to its end before the clock starts.
		must(0, download(conns[i], 1))
	}
	move := download
	if up {
		move = upload
	}
	var flows sync.WaitGroup
	start := time.Now()
	for _, conn := range conns {
		flows.Add(1)
		go func(conn net.Conn) {
			defer flows.Done()
			must(0, move(conn, bytes/int64(streams)))
		}(conn)
	}
	flows.Wait()
	say(map[string]float64{"seconds": time.Since(start).Seconds()})
}

func download(conn net.Conn, bytes int64) error {
	if err := command(conn, 'd', bytes); err != nil {
		return err
	}
	return drop(conn, bytes)
}

func upload(conn net.Conn, bytes int64) error {
	if err := command(conn, 'u', bytes); err != nil {
		return err
	}
	if err := send(conn, bytes); err != nil {
		return err
	}
	return drop(conn, 1)
}

// The same by HTTP.
func get(conn net.Conn, bytes int64) error {
	if _, err := fmt.Fprintf(conn, "GET /%d HTTP/1.1\r\nHost: relay.bench\r\n\r\n", bytes); err != nil {
		return err
	}
	if err := skipHead(conn); err != nil {
		return err
	}
	return drop(conn, bytes)
}

func query(conn net.Conn, bytes int64) error {
	head := "QUERY /%d HTTP/1.1\r\nHost: relay.bench\r\nContent-Length: %d\r\n\r\n"
	if _, err := fmt.Fprintf(conn, head, bytes, bytes); err != nil {
		return err
	}
	if err := send(conn, bytes); err != nil {
		return err
	}
	if err := skipHead(conn); err != nil {
		return err
	}
	return drop(conn, 1)
}

func requests(conn net.Conn, count int) {
	start := time.Now()
	for i := 0; i < count; i++ {
		must(0, get(conn, 1))
	}
	say(map[string]float64{"seconds": time.Since(start).Seconds()})
}

func command(conn net.Conn, verb byte, count int64) error {
	text := make([]byte, 9)
	text[0] = verb
	binary.LittleEndian.PutUint64(text[1:], uint64(count))
	_, err := conn.Write(text)
	return err
}

// --- New connections --------------------------------------------------------------------------------------------------------------

// A longer wait counts as a failure.
const patience = 30 * time.Second

type probes struct {
	dial func() (net.Conn, error)
	hold bool

	begun  time.Time
	mutex  sync.Mutex
	times  []time.Duration
	failed int
	reason string
	held   []net.Conn
}

// Returns whether one more may start.
func atMost(count int, span time.Duration) func() bool {
	var arrived atomic.Int64
	end := time.Now().Add(span)
	return func() bool { return arrived.Add(1) <= int64(count) && time.Now().Before(end) }
}

func (p *probes) atOnce(limit int, arrives func() bool) {
	p.begun = time.Now()
	var workers sync.WaitGroup
	for i := 0; i < limit; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for arrives() {
				p.one()
			}
		}()
	}
	workers.Wait()
}

func (p *probes) atRate(perSecond int, arrives func() bool) {
	p.begun = time.Now()
	var probes sync.WaitGroup
	for i := 0; arrives(); i++ {
		time.Sleep(time.Until(p.begun.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		probes.Add(1)
		go func() {
			defer probes.Done()
			p.one()
		}()
	}
	probes.Wait()
}

func (p *probes) one() {
	start := time.Now()
	conn, err := p.dial()
	if err == nil {
		conn.SetDeadline(start.Add(patience))
		err = ping(conn)
	}
	took := time.Since(start)
	if conn != nil && (err != nil || !p.hold) {
		conn.Close()
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err != nil {
		if p.failed++; p.failed == 1 {
			p.reason = err.Error()
		}
		return
	}
	p.times = append(p.times, took)
	if p.hold {
		p.held = append(p.held, conn)
	}
}

func (p *probes) summary() summary {
	result := summarize(p.times, time.Since(p.begun))
	result.Failed, result.Reason = p.failed, p.reason
	return result
}

func (p *probes) living() int {
	alive := 0
	for _, conn := range p.held {
		conn.SetDeadline(time.Now().Add(patience))
		if ping(conn) == nil {
			alive++
		}
	}
	for _, conn := range p.held {
		conn.Close()
	}
	return alive
}
