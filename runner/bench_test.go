package runner

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"strings"
	"syscall"
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

// BenchmarkEvents decodes and folds events of 1 kB, and says how many a second of CPU is good for, the collector's included.
func BenchmarkEvents(b *testing.B) {
	const hosts, tasks = 500, 10
	var text bytes.Buffer
	for task := range tasks {
		for h := range hosts {
			head := fmt.Sprintf(`"time":1764306000.123456,"play":"Patch","task":"Upgrade, part %d","id":"5254001a-2b3c-9f4e-6d10-%012d"`, task, task)
			fmt.Fprintf(&text, `{"kind":"begin",%s,"host":"node%05d"}`+"\n", head, h)
			line := fmt.Sprintf(`{"kind":"result",%s,"path":"/srv/ansible/patch.yml:7","action":"ansible.builtin.apt","host":"node%05d","status":"changed",`+
				`"started":1764306000.023456,"data":{"changed":true,"stdout":"`, head, h)
			text.WriteString(line + strings.Repeat("x", 2*1024-len(line)-200) + "\"}}\n") // so that the two are 2 kB
		}
	}
	before, n := cpu(b), 0
	for b.Loop() {
		f := newFold(nil)
		for e, err := range Decode(bytes.NewReader(text.Bytes())) {
			if err != nil {
				b.Fatal(err)
			}
			f.add(e)
			n++
		}
		if len(f.hosts) != hosts {
			b.Fatalf("%d hosts", len(f.hosts))
		}
	}
	b.ReportMetric(float64(text.Len())*float64(b.N)/float64(n), "B/event")
	b.ReportMetric(float64(n)/(cpu(b)-before), "events/s")
}

// cpu is how many seconds of it this process has taken.
func cpu(b *testing.B) float64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
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
