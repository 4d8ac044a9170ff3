// Package orchestrator patches a fleet wave by wave: it makes the plan, runs one wave after the other on an [Engine],
// decides after each whether the next may begin, and keeps a journal that tells the truth even if this process dies.
//
//	store, err := orchestrator.Open("/var/lib/homelab-patch-orchestrate")
//	lock, err := store.Lock()                        // ErrLocked: another run is under way
//	defer lock.Close()
//	run, err := lock.Begin()                         // an id and a folder; nothing is written yet
//	plan, err := orchestrator.NewPlan(inv, policy)   // *PlanError: nothing was touched
//	o := orchestrator.Orchestrator{Engine: engine, Policy: policy}
//	report, err := o.Run(ctx, run, plan)
//	os.Exit(orchestrator.ExitCode(report, err))
//
// The engine is the one part that touches hosts. It is made by the caller, who knows from run.ID, run.Dir and
// lock.File where its log goes and which open file it must inherit.
//
// # What it guarantees
//
// The journal comes first: before a wave's engine starts, the fact that it is about to start is on the disk. A journal
// that cannot be written stops the run before the engine is called. Observers hear of a change when it is durable.
//
// The gate fails closed. A host that was expected and not seen, or whose end is not known, counts against the budget
// like a failed one. A gate that cannot tell, or takes too long, is a gate that says no. One wave over its budget, and no
// later host is touched. Gates are asked after a wave, and once more right before the next begins.
//
// One run at a time holds the lock. It is a lock on an open file, so it ends with the process, and with the last child
// that inherited it. A journal found unfinished by the holder of the lock is therefore of a run that died; it is closed
// as interrupted.
//
// Every way out of [Orchestrator.Run] leaves a final report in the run's folder, except a refusal that touched nothing:
// a plan without hosts, or a hold at the start.
//
// # Stopping
//
// A closed Stop channel lets the wave under way finish and begins no other. The end of the context cancels the wave;
// its hosts in flight are then interrupted, which is neither failed nor well. A context cancelled with a [SignalError]
// as its cause gives the exit code of that signal.
//
// # What it does not do
//
// It sends no message, writes no metric and starts no process: see Observe and Engine. It never repeats a wave.
package orchestrator
