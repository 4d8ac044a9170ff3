// Package runner runs ansible-playbook for Go programs: it starts the real
// engine, hands over what happens while it happens, and says how each host
// came out.
//
// Start with [Playbook] and its Run:
//
//	p := runner.Playbook{
//		Dir: "/srv/ansible", Playbook: "site.yml",
//		Inventory: []string{"hosts.yml"}, Hosts: []string{"web1", "web2"},
//	}
//	result, err := p.Run(ctx, func(e runner.Event) { fmt.Println(e.Kind, e.Host, e.Task) })
//
// [Inventory] and [Match] ask Ansible for its hosts. [Decode] reads events that
// were stored by way of Playbook.Events, [DecodeJSONCallback] the document of
// the stock callback ansible.posix.json; Playbook.Document runs with that one.
//
// # What it guarantees
//
//   - The result comes from events, not from the exit code, which is 4 for an
//     unreachable host and for a playbook that does not parse. A host that was
//     expected and never seen is [NotAttempted]. An engine that could not do its
//     work is an [*EngineError], and never an unreachable host.
//   - When ctx ends, the engine gets SIGINT, then Grace, then SIGKILL, and with
//     it all it started: workers, local tasks, daemons and jobs they left. No
//     process and no file of the run remains. The error holds ctx.Err and the
//     cause. Hosts in the middle of a task are [Interrupted].
//   - When this process dies, however it dies, the engine ends within seconds
//     and begins no further task.
//   - Events may have any length and hold anything. No output stops a run.
//   - Hosts, variables and secrets are on no command line. Variables and hosts
//     go by files of mode 0600 under /run ($XDG_RUNTIME_DIR for others than
//     root), removed as soon as Ansible has read them. Errors and logs hold
//     nothing of Env. What a killed process left there, the next run removes.
//   - Nothing can ask a person: there is no terminal, standard input is empty,
//     and ssh does not call an askpass program.
//
// # What it does not do
//
//   - What runs on a remote host goes on running when its connection ends. A
//     host that is Interrupted has to be looked at.
//   - A process that leaves the session and clears its environment and outlives
//     its parent cannot be told from a stranger, and lives on. So do, after a
//     run that was not cut short, daemons that a local task left on purpose.
//   - A host that Ansible stopped because others failed (any_errors_fatal,
//     max_fail_percentage) comes out as far as it got: Ansible does not tell.
//     A host whose first task is meta: end_host is NotAttempted.
//   - What Ansible writes itself is passed on to Playbook.Log and
//     Result.Stderr as it is: where it cannot read a file, it quotes the lines
//     around the error. Errors of this package leave out what is known to be
//     quoted. A task's environment is on the command line of the shell that
//     starts its module.
//   - A host's name must not be an Ansible pattern.
//   - It needs Linux with /proc.
//
// # Which ansible-core
//
// An older one than 2.14 is refused before it touches a host. 2.14 (Debian 12)
// and 2.19 (Debian 13) are tested at each commit, in booted hosts of both; what
// is between them, and what is newer, is run and expected to do the same.
//
//	                                       2.14   2.19
//	outcomes and counts equal the recap    yes    yes
//	cancelled, nothing is left             yes    yes
//	our death ends it                      yes    yes
//	document of ansible.posix.json         yes    yes
//	a result of hundreds of levels         kept   Data is {"unserializable":true}
//	a command's output that is not UTF-8   kept   Ansible fails the task (raw works)
//	values of a no_log task that cannot
//	be templated                           hidden on stderr, so in Playbook.Log
//
// # Errors
//
// Those of [Playbook.Run], [Inventory] and [Match] are of three sorts, in each
// of which nothing of the run is left:
//
//   - An [*EngineError]: Ansible is missing, too old, could not parse the
//     playbook, or died. It holds the cause, such as [os/exec.ErrNotFound].
//   - An error that holds ctx.Err and context.Cause: ctx ended first.
//   - Any other: nothing was started. An argument is one that Ansible would
//     misunderstand, or the files of the run could not be written.
//
// A line that is no event, and a document that is not whole, yield errors that
// hold [ErrStream]. No text of an error has anything of Env, Vars or go-ansible
// in it; it may have what Ansible wrote to stderr.
//
// # What of the operator's configuration it respects
//
// All of it. ansible.cfg is found as Ansible finds it. Their stdout callback
// writes to Playbook.Log; their other callbacks run beside the one of this
// package, wherever they are kept. Only where neither the environment nor
// ansible.cfg says otherwise, pipelining is on, forks are one a host (10 to 25), retry files are off, ssh has
// keepalives (a dead link is noticed in some 10 seconds), PrivateKey is used,
// ssh masters live in a folder of the run and end with it (or of
// Playbook.Connections), and the process that waits for forks looks for what
// they have done every 10 ms, every 100 ms while they have done nothing for
// a second, not every 1 ms. Masters on a
// control path of the operator's are left alone.
//
// # The environment it owns
//
// Set for every command, whatever the operator says: PYTHONUNBUFFERED,
// PYTHONDONTWRITEBYTECODE, ANSIBLE_FORCE_COLOR, ANSIBLE_NOCOLOR,
// ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED (an inventory that cannot be read
// must not become a smaller one), and names that begin with RUNNER_.
// ANSIBLE_CALLBACK_PLUGINS holds the operator's path after this package's, and
// ARA_DEFAULT_LABELS the operator's labels before Playbook.Labels. With
// Playbook.Document, ANSIBLE_STDOUT_CALLBACK is set as well.
package runner
