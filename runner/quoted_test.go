package runner

import (
	"strings"
	"testing"
)

// What Ansible says of an error is kept, and the lines that it quotes are not.
func TestDetail(t *testing.T) {
	for name, c := range map[string]struct{ stderr, want string }{
		"2.14": {"ERROR! did not find expected node content\nThe error appears to be in '/x/site.yml': line 3, column 10, but may\n" +
			"be elsewhere in the file depending on the exact syntax problem.\n\nThe offending line appears to be:\n\n" +
			"  vars: {password: S3CRET}\n  tasks: ]\n         ^ here\n", "line 3, column 10"},
		"2.14, wrapped": {"[WARNING]:  * Failed to parse /x/hosts.yml with yaml plugin: Syntax Error while loading YAML.  line 7, The\n" +
			"offending line appears to be:  ansible_password: S3CRET       bad: [\n^ here\nERROR! Completely failed to parse\n", "ERROR! Completely"},
		"2.14, two":     {"line 7\nThe offending line appears to be:\na: S3CRET\n^ here\nThe offending line appears to be:\nb: S3CRET\n^ here\n", "line 7"},
		"2.14, no mark": {"line 7\nThe offending line appears to be:\na: S3CRET\n", "line 7"},
		"2.19": {"[ERROR]: YAML parsing failed.\nOrigin: /x/site.yml:3:10\n\n1 - hosts: all\n2   vars: {password: S3CRET}\n3   tasks: ]\n" +
			"           ^ column 10\n\n<<< caused by >>>\n", "/x/site.yml:3:10"},
		"2.19, long file": {"Origin: /x/site.yml:10:7\n\n  9   password: S3CRET\n 10   tasks: ]\n         ^ column 10\n", "/x/site.yml:10:7"},
		"ini": {"[WARNING]:  * Failed to parse /x/hosts with ini plugin:\n/x/hosts:1: Expected key=value host variable assignment, got: S3CRET\n" +
			"ERROR! Completely failed\n", "/x/hosts:1:"},
	} {
		got := detail(c.stderr)
		if strings.Contains(got, "S3CRET") || !strings.Contains(got, c.want) || !strings.Contains(got, "(not shown)") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := detail("a\n\nb\n"); got != "a\nb" {
		t.Errorf("nothing is quoted: %q", got)
	}
}
