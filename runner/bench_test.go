package runner

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/apenella/go-ansible/v2/pkg/execute/result/json"
)

// BenchmarkRecorded reads one run of Ansible that `make bench` has recorded in
// both forms: $RECORDED.jsonl is our stream, $RECORDED.json the stock
// callback's document. A result is a task that a host has ended.
func BenchmarkRecorded(b *testing.B) {
	name := os.Getenv("RECORDED")
	if name == "" {
		b.Skip("make bench records what is read here")
	}
	read := func(b *testing.B, file string) []byte {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		return text
	}
	decoder := func(decode func(io.Reader) iter.Seq2[Event, error], file string) func(*testing.B) {
		return func(b *testing.B) {
			text := read(b, file)
			results := 0
			for b.Loop() {
				results = foldAll(b, decode(bytes.NewReader(text)))
			}
			report(b, results)
		}
	}
	b.Run("Decode", decoder(Decode, name+".jsonl"))
	b.Run("DecodeJSONCallback", decoder(DecodeJSONCallback, name+".json"))
	b.Run("ParseJSONResultsStream", func(b *testing.B) {
		text := read(b, name+".json")
		results := 0
		for b.Loop() {
			document, err := json.ParseJSONResultsStream(bytes.NewReader(text))
			if err != nil {
				b.Fatal(err)
			}
			results = 0
			for _, play := range document.Plays {
				for _, task := range play.Tasks {
					results += len(task.Hosts)
				}
			}
		}
		report(b, results)
	})
}

// foldAll counts the results of a run in which every host came to its end.
func foldAll(b *testing.B, events iter.Seq2[Event, error]) (results int) {
	f := newFold(nil)
	for e, err := range events {
		if err != nil {
			b.Fatal(err)
		}
		if e.Kind == KindResult {
			results++
		}
		f.add(e)
	}
	for name, h := range f.result().Hosts {
		if h.Outcome != Changed {
			b.Fatalf("host %s: %+v", name, h)
		}
	}
	return results
}

func report(b *testing.B, results int) {
	if results != 100 { // 10 hosts, 10 tasks
		b.Fatalf("%d results", results)
	}
	b.ReportMetric(float64(results*b.N)/b.Elapsed().Seconds(), "results/s")
}

// stream is a fleet of hosts with 12 events of some 4 kB each, made as it is read.
func stream(hosts int) io.Reader {
	r, w := io.Pipe()
	data := `{"stdout":"` + strings.Repeat("x", 4000) + `","changed":true}`
	go func() { // ends with the stream
		var b bytes.Buffer
		b.WriteString(`{"kind":"start","time":1,"version":"2.14.18"}` + "\n")
		for h := range hosts {
			for i := range 6 {
				fmt.Fprintf(&b, `{"kind":"begin","time":1,"play":"p","task":"t","id":"%d","host":"h%d","data":%s}`+"\n", i, h, data)
				fmt.Fprintf(&b, `{"kind":"result","time":1,"play":"p","task":"t","id":"%d","host":"h%d","status":"ok","data":%s}`+"\n", i, h, data)
			}
			w.Write(b.Bytes())
			b.Reset()
		}
		w.Close()
	}()
	return r
}

func BenchmarkDecode(b *testing.B) {
	var text bytes.Buffer
	io.Copy(&text, stream(100))
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, err := range Decode(bytes.NewReader(text.Bytes())) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkFold folds a run over 10,000 hosts, and says how much memory is
// live at its end.
func BenchmarkFold(b *testing.B) {
	const hosts = 10_000
	for b.Loop() {
		f := newFold(nil)
		for e, err := range Decode(stream(hosts)) {
			if err != nil {
				b.Fatal(err)
			}
			f.add(e)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-live")
		if n := len(f.result().Hosts); n != hosts {
			b.Fatalf("%d hosts", n)
		}
	}
	b.ReportMetric(float64(hosts*12*b.N)/b.Elapsed().Seconds(), "events/s")
}
