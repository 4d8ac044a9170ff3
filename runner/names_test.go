package runner

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A task has one name in each of its events, and its role beside it, whatever it is: Ansible itself puts the role before
// the name where a task begins, and not where it ends.
func TestNames(t *testing.T) {
	t.Parallel()
	r := localRun(t, `
- hosts: h1
  gather_facts: false
  roles: [first]
  tasks:
    - name: Of no role
      ansible.builtin.meta: noop
    - name: "second : By hand"
      ansible.builtin.debug:
    - name: Another role
      ansible.builtin.include_role:
        name: second
`, map[string]string{
		"roles/first/tasks/main.yml": `
- name: Greet
  ansible.builtin.debug:
- ansible.builtin.debug:
- name: Tell
  ansible.builtin.command: "true"
  notify: Answer
- name: Forgive
  ansible.builtin.fail:
  ignore_errors: true
- name: Try
  ansible.builtin.command: "false"
  register: tried
  until: tried.rc == 0
  retries: 1
  delay: 0
  ignore_errors: true
- name: Each
  ansible.builtin.debug:
  loop: [1]
`,
		"roles/first/handlers/main.yml": "- name: Answer\n  ansible.builtin.debug:\n",
		"roles/second/tasks/main.yml":   "- name: Look\n  ansible.builtin.debug:\n",
	})
	printed, err := os.Create(filepath.Join(t.TempDir(), "printed"))
	if err != nil {
		t.Fatal(err)
	}
	defer printed.Close()
	r.Document = printed
	r.do(t.Context(), t)
	if r.err != nil {
		t.Fatal(r.err)
	}
	var names []string
	of := map[string]string{}
	for _, e := range r.events {
		if e.TaskID == "" || e.Kind == KindPlay {
			continue
		}
		name := fmt.Sprintf("%s/%s", e.Role, e.Task)
		if was, ok := of[e.TaskID]; !ok {
			names = append(names, name)
		} else if was != name {
			t.Errorf("its %s is of %q, which was %q", e.Kind, name, was)
		}
		of[e.TaskID] = name
	}
	slices.Sort(names)
	want := []string{
		"/Another role", "/Of no role", "/second : By hand", "first/Answer", "first/Each", "first/Forgive", "first/Greet", "first/Tell",
		"first/Try", "first/ansible.builtin.debug", "second/Look",
	}
	if !slices.Equal(names, want) {
		t.Errorf("the tasks are\n%q\nwant\n%q", names, want)
	}
	printed.Seek(0, io.SeekStart)
	told, err := readDocument(printed)
	if err != nil {
		t.Fatal(err)
	}
	names = nil
	for _, e := range told {
		if e.Kind == KindTask {
			names = append(names, fmt.Sprintf("%s/%s", e.Role, e.Task))
		}
	}
	slices.Sort(names)
	if !slices.Equal(slices.Compact(names), want) {
		t.Errorf("by the document of the stock callback the tasks are\n%q\nwant\n%q", names, want)
	}
}
