package runner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// An event costs one allocation, its data, and folding it none: whatever else it says has been said before.
func TestAllocations(t *testing.T) {
	const hosts, tasks = 50, 20
	var text bytes.Buffer
	data := `{"stdout":"` + strings.Repeat("x", 700) + `","changed":true}`
	for task := range tasks {
		for h := range hosts {
			head := fmt.Sprintf(`"play":"p","task":"Upgrade the packages","id":"%d"`, task)
			fmt.Fprintf(&text, `{"kind":"begin","time":1764306000.1,%s,"host":"h%d"}`+"\n", head, h)
			fmt.Fprintf(&text, `{"kind":"result","time":1764306000.2,%s,"path":"site.yml:3","action":"ansible.builtin.apt","host":"h%d","status":"ok","started":1764306000.1,"data":%s}`+"\n", head, h, data)
		}
	}
	allocations := func(decode func(io.Reader) func(func(Event, error) bool)) float64 {
		return testing.AllocsPerRun(5, func() {
			f := newFold(nil)
			decode(bytes.NewReader(text.Bytes()))(func(e Event, err error) bool {
				if err != nil {
					t.Error(err)
				}
				f.add(e)
				return true
			})
		})
	}
	// Once a run: the words, the hosts of the fold, the buffers.
	const once = hosts*8 + tasks*4 + 50
	whole := allocations(func(r io.Reader) func(func(Event, error) bool) { return Decode(r) })
	if results := float64(hosts * tasks); whole > results+once {
		t.Errorf("%.0f allocations for %d results and as many begins, want one a result and %d", whole, hosts*tasks, once)
	}
	if heads := allocations(func(r io.Reader) func(func(Event, error) bool) { return Heads(r) }); heads > once {
		t.Errorf("%.0f allocations without data, want %d", heads, once)
	}
}

// FuzzHead: what is not left to encoding/json is read as that reads it.
func FuzzHead(f *testing.F) {
	for _, line := range strings.Split(recorded(f, "2.14.jsonl"), "\n") {
		if i := headEnd([]byte(line)); i >= 0 {
			line = line[:i] + "}"
		}
		if len(line) < 4096 {
			f.Add([]byte(line))
		}
	}
	for _, line := range []string{
		`{"kind":"x","time":01}`, `{"kind":"x","time":1.}`, `{"kind":"x","time":.5}`, `{"kind":"x","time":0.5,"ignored":truefalse}`, `{"kind":"x",}`,
		`{"kind":"\ud83d\ude00\\","tags":["a","\"b"],"labels":[]}`, `{"kind":"x","KIND":"y"}`, `{"kind":"x","tags":[,]}`, `{"kind":"a","kind":"b"}`, `{}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		d := newDecoder()
		var got head
		if p := (parser{d: d, rest: line}); !p.head(&got) {
			return
		}
		var want head
		if err := json.Unmarshal(line, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nis read as %+v\nand by encoding/json as %+v, %v", line, got, want, err)
		}
	})
}

// What the callback plugin writes is not left to encoding/json: of all that was recorded only what is rare.
func TestHeadKnowsThePlugin(t *testing.T) {
	for _, version := range generations {
		left := map[Kind]int{}
		for _, line := range strings.Split(strings.TrimSpace(recorded(t, version+".jsonl")), "\n") {
			if i := headEnd([]byte(line)); i >= 0 {
				line = line[:i] + "}"
			}
			var h head
			if p := (parser{d: newDecoder(), rest: []byte(line)}); !p.head(&h) && !strings.Contains(line, `"attempts":`) {
				left[h.Kind]++
			}
		}
		if len(left) > 0 {
			t.Errorf("%s: lines left to encoding/json: %v", version, left)
		}
	}
}
