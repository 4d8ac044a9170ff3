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
		"2.19, long file":  {"Origin: /x/site.yml:10:7\n\n  9   password: S3CRET\n 10   tasks: ]\n         ^ column 10\n", "/x/site.yml:10:7"},
		"2.19, blank line": {"Origin: /x:3:10\n\n1 - hosts: all\n2\n3   vars: {password: S3CRET}\n   ^ column 10\n", "/x:3:10"},
		"2.19, no column":  {"Origin: /x:3\n\n3   password: S3CRET\n    ^^^^^^^^\n\n<<< caused by >>>\nmore\n", "more"},
		"2.19, far right":  {"Origin: /x:3:110\n\n3   password: S3CRET\n    column 110 ^\n", "/x:3:110"},
		"2.19, a value":    {"Origin: <unknown>\n\nS3CRET\n\n<<< caused by >>>\n", "<unknown>"},
		"ini, quote":       {"/x:1: Error parsing host definition 'web1 ansible_password=it's S3CRET': No closing quotation\n", "/x:1:"},
		"ini, vars":        {"/x:4: Expected key=value, got: S3CRET\n", "/x:4:"},
		"ini, wrapped":     {"/x:4: Expected key=value, got:\nS3CRET\nERROR! failed\n", "ERROR! failed"},
		"quotes in a task": {"failed at splitting arguments, either an unbalanced jinja2 block or quotes: echo 'S3CRET\n", "unbalanced"},
		"2.14, cut":        {"xS3CRETx\n   ^ here\nERROR! failed\n", "ERROR! failed"},
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
