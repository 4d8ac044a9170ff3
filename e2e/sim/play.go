package sim

import (
	"container/heap"
	"fmt"
	"path/filepath"
	"strings"
)

// playName is that of the only play.
const playName = "Patch"

// task is one task of the play, with what its ends look like on any host.
type task struct {
	number       int
	name, action string
	tail         string // of its head: path and action
	status       string
	data         []byte
	path         string
}

// tasks of the play: look, upgrade in parts, reboot, publish; of health.yml, which asks for failed units, a single one.
func (p *play) tasks() []task {
	var all []task
	add := func(name, action, status string, data []byte) {
		n := len(all) + 1
		path := fmt.Sprintf("%s:%d", p.args.playbook, 3*n+2)
		all = append(all, task{
			number: n, name: name, action: action, status: status, data: data, path: path,
			tail: fmt.Sprintf(`"path":%s,"action":"%s"`, mustJSON(path), action),
		})
	}
	if filepath.Base(p.args.playbook) == "health.yml" {
		add("Ask the host", "homelab_patch", "ok", healthy())
		return all
	}
	add("Look", "ansible.builtin.command", "ok", command(false, Text(p.Bytes, 0), "cat", "part-0.txt"))
	for part := 1; part <= p.Tasks-3; part++ {
		add(fmt.Sprintf("Upgrade, part %d", part), "ansible.builtin.command", "changed",
			command(true, Text(p.Bytes, part), "cat", fmt.Sprintf("part-%d.txt", part)))
	}
	add("Reboot", "ansible.builtin.command", "skipped", skipped())
	add("Publish", "ansible.builtin.set_fact", "ok", published(p.patch(p.ahead)))
	return all
}

// play is one play over hosts.
type play struct {
	Script
	args  arguments
	ahead bool // nothing is changed and nothing goes wrong: a dry run, or what only looks
	out   *stream
	stats map[string]*stats
}

type stats struct{ ok, failures, unreachable, changed, skipped int }

// run writes the play's events; a host that is lost takes no part in what follows.
func (p *play) run(hosts []string) error {
	p.stats = map[string]*stats{}
	for _, h := range hosts {
		p.stats[h] = &stats{}
	}
	order := hosts
	p.out.line(`"kind":"playbook"`, fmt.Sprintf(`"path":%s`, mustJSON(p.args.playbook)), p.args.data())
	p.out.line(`"kind":"play"`, fmt.Sprintf(`"play":"%s","id":"%s","path":%s`, playName, id(0), mustJSON(p.args.playbook+":1")), nil)
	for _, t := range p.tasks() {
		if len(hosts) == 0 {
			break
		}
		p.out.line(`"kind":"task"`, fmt.Sprintf(`"play":"%s","task":"%s","id":"%s",%s,"tags":[]`, playName, t.name, id(t.number), t.tail), nil)
		lost, err := p.task(t, hosts)
		if err != nil {
			return err
		}
		var left []string
		for _, h := range hosts {
			if !lost[h] {
				left = append(left, h)
			}
		}
		hosts = left
	}
	var recap strings.Builder
	for i, h := range order {
		s := p.stats[h]
		if i > 0 {
			recap.WriteByte(',')
		}
		fmt.Fprintf(&recap, `"%s":{"ok":%d,"failures":%d,"unreachable":%d,"changed":%d,"skipped":%d,"rescued":0,"ignored":0}`,
			h, s.ok, s.failures, s.unreachable, s.changed, s.skipped)
	}
	p.out.line(`"kind":"stats"`, "", []byte("{"+recap.String()+"}"))
	return p.out.flush()
}

// task has all hosts do one task, so many at a time, each for as long as it takes, and returns those that are lost.
func (p *play) task(t task, hosts []string) (map[string]bool, error) {
	lost := map[string]bool{}
	var busy queue
	end := func() error {
		w := heap.Pop(&busy).(worker)
		if err := p.out.until(w.ends, p.Pace); err != nil {
			return err
		}
		if w.fault.Kind == Wait {
			if err := p.out.while(w.fault.While); err != nil {
				return err
			}
		}
		l, err := p.end(t, w)
		lost[w.host] = l
		return err
	}
	for _, h := range hosts {
		if busy.Len() == p.forks() {
			if err := end(); err != nil {
				return nil, err
			}
		}
		p.out.line(`"kind":"begin"`, fmt.Sprintf(`"play":"%s","task":"%s","id":"%s","host":"%s"`, playName, t.name, id(t.number), h), nil)
		f := p.fault(h, t)
		took := p.Took
		if f.Kind == Stall || f.Kind == Slow || f.Kind == Wait {
			took = f.Seconds
		}
		heap.Push(&busy, worker{h, p.out.now, p.out.now + took, f})
	}
	for busy.Len() > 0 {
		if err := end(); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

func (p *play) forks() int {
	switch {
	case p.args.forks > 0:
		return p.args.forks
	case p.Forks > 0:
		return p.Forks
	}
	return 10
}

func (p *play) fault(host string, t task) Fault {
	if f := p.Faults[host]; f.Task == t.number && !p.ahead {
		return f
	}
	return Fault{}
}

// end writes how a host ended a task, and returns whether it is lost by it.
func (p *play) end(t task, w worker) (lost bool, err error) {
	s := p.stats[w.host]
	status, data, msg := t.status, t.data, ""
	switch w.fault.Kind {
	case Failed:
		status, lost = "failed", true
		data, msg = broken("cat: missing.txt: No such file or directory", "cat", "missing.txt")
	case Unreachable, Stall:
		status, lost = "unreachable", true
		msg = "Failed to connect to the host via ssh: ssh: connect to host 127.0.0.1 port 1: Connection refused"
		if w.fault.Kind == Stall {
			msg = "Failed to connect to the host via ssh: Timeout, server 127.0.0.1 not responding."
		}
		data = unreachable(msg)
	case Flood:
		data = command(status == "changed", Text(w.fault.Bytes, t.number), "cat", "flood.txt")
	case Killed:
		return true, p.out.die()
	}
	switch status {
	case "ok":
		s.ok++
	case "changed":
		s.ok, s.changed = s.ok+1, s.changed+1
	case "skipped":
		s.skipped++
	case "failed":
		s.failures++
	case "unreachable":
		s.unreachable++
	}
	head := fmt.Sprintf(`"play":"%s","task":"%s","id":"%s",%s,"host":"%s","status":"%s","started":%f`,
		playName, t.name, id(t.number), t.tail, w.host, status, w.began)
	if msg != "" {
		head += `,"msg":` + string(mustJSON(msg))
	}
	p.out.line(`"kind":"result"`, head, data)
	if p.Done != "" && status != "skipped" {
		return lost, note(p.Done, fmt.Sprintf("%s %d\n", w.host, t.number))
	}
	return lost, nil
}

// looks reports whether the playbook is one of those carried ones that change no package.
func looks(playbook string) bool {
	name := filepath.Base(playbook)
	return name == "prepare.yml" || name == "health.yml"
}

func id(task int) string { return fmt.Sprintf("5254001a-2b3c-9f4e-6d10-%012d", task) }

// worker is a host at work.
type worker struct {
	host        string
	began, ends float64
	fault       Fault
}

// queue has first who ends first.
type queue []worker

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].ends < q[j].ends }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(w any)        { *q = append(*q, w.(worker)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
