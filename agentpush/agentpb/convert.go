package agentpb

import (
	"fmt"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Protocol is the version of the protocol that this release speaks.
const Protocol = 1

// ServerTrailer is the trailer of a refused session that names the server,
// host:port, at which the minion is to try next.
const ServerTrailer = "carillon-server"

// nanos returns t in nanoseconds since the Unix epoch, 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// FromTask returns the wire form of id.
func FromTask(id job.TaskID) *TaskID {
	return &TaskID{
		Job: id.Fire.Job[:], At: id.Fire.At, Trigger: uint32(id.Fire.Trigger),
		Attempt: uint32(id.Attempt), // 1..job.MaxAttempts
		Minion:  string(id.Minion),
		Share:   id.Fire.Share,
	}
}

// ToTask reads the wire form of a task id. minion is used where the wire form
// names none.
func ToTask(t *TaskID, minion job.MinionID) (job.TaskID, error) {
	if len(t.GetJob()) != len(job.UID{}) {
		return job.TaskID{}, fmt.Errorf("task id: job uid has %d bytes, want %d", len(t.GetJob()), len(job.UID{}))
	}
	if n := t.GetTrigger(); n > uint32(job.TriggerRedo) || !job.Trigger(n).Known() {
		return job.TaskID{}, fmt.Errorf("task id: trigger %d is none that this version knows; want %d to %d", n, job.TriggerSchedule, job.TriggerRedo)
	}
	id := job.TaskID{
		Fire:    job.FireID{At: t.GetAt(), Trigger: job.Trigger(t.GetTrigger()), Share: t.GetShare()},
		Minion:  job.MinionID(t.GetMinion()),
		Attempt: int(t.GetAttempt()),
	}
	copy(id.Fire.Job[:], t.GetJob())
	if id.Minion == "" {
		id.Minion = minion
	}
	return id, nil
}

// reference is what names a task and the owner that speaks of it: a question or a cancel.
type reference interface {
	GetTask() *TaskID
	GetShard() uint32
	GetTokenEpoch() int64
	GetTokenRevision() int64
	GetTerm() uint32
}

// ToRef reads what a question or a cancel is about. minion is used where it names none.
func ToRef(w reference, minion job.MinionID) (job.Ref, error) {
	id, err := ToTask(w.GetTask(), minion)
	if err != nil {
		return job.Ref{}, err
	}
	return job.Ref{
		Task: id, Shard: job.ShardID(w.GetShard()),
		Token: job.Token{Epoch: w.GetTokenEpoch(), Revision: w.GetTokenRevision()}, Term: w.GetTerm(),
	}, nil
}

// FromOrder returns the wire form of o.
func FromOrder(o *job.Order) *Order {
	w := &Order{
		Task: FromTask(o.Task), Shard: uint32(o.Shard),
		TokenEpoch: o.Token.Epoch, TokenRevision: o.Token.Revision, Term: o.Term,
		Namespace: o.Key.Namespace, Name: o.Key.Name, RunId: string(o.RunID),
		Command: o.Command, Env: o.Env, WorkingDir: o.WorkingDir, User: o.User,
		ScheduledAt: nanos(o.ScheduledAt), NotAfter: nanos(o.NotAfter), Timeout: int64(o.Timeout), HoldUntil: int64(o.HoldUntil),
		Subject: o.Subject, Author: o.Author, JobAuthor: o.JobAuthor,
	}
	if l := o.Limits; l != (job.Limits{}) {
		w.Limits = &Limits{Memory: int64(l.Memory), Pids: int64(l.Pids), Cpu: int64(l.CPU)}
	}
	if o.Script != nil {
		w.Script, w.Interpreter, w.ScriptSha256 = o.Script.Source, o.Script.Interpreter, o.ScriptSHA256
	}
	for i := range o.Steps {
		w.Steps = append(w.Steps, fromStep(&o.Steps[i]))
	}
	fromSecrets(w, o)
	return w
}

// ToOrder reads the wire form of an order.
func ToOrder(w *Order, minion job.MinionID) (job.Order, error) {
	id, err := ToTask(w.GetTask(), minion)
	if err != nil {
		return job.Order{}, err
	}
	o := job.Order{
		Task: id, Shard: job.ShardID(w.GetShard()),
		Token: job.Token{Epoch: w.GetTokenEpoch(), Revision: w.GetTokenRevision()}, Term: w.GetTerm(),
		Key:     job.Key{Namespace: w.GetNamespace(), Name: w.GetName()},
		RunID:   job.RunID(w.GetRunId()),
		Subject: w.GetSubject(), Author: w.GetAuthor(), JobAuthor: w.GetJobAuthor(),
		Command: w.GetCommand(), Env: w.GetEnv(), WorkingDir: w.GetWorkingDir(), User: w.GetUser(),
		ScheduledAt: instant(w.GetScheduledAt()), NotAfter: instant(w.GetNotAfter()),
		Timeout: time.Duration(w.GetTimeout()), HoldUntil: time.Duration(w.GetHoldUntil()),
	}
	if l := w.GetLimits(); l != nil {
		o.Limits = job.Limits{Memory: job.Size(l.GetMemory()), Pids: int(l.GetPids()), CPU: job.Cores(l.GetCpu())}
	}
	if w.GetScript() != "" || w.GetScriptSha256() != "" {
		o.Script, o.ScriptSHA256 = &job.Script{Interpreter: w.GetInterpreter(), Source: w.GetScript()}, w.GetScriptSha256()
	}
	for _, st := range w.GetSteps() {
		o.Steps = append(o.Steps, toStep(st))
	}
	toSecrets(&o, w)
	return o, nil
}

func fromStep(st *job.OrderStep) *Step {
	w := &Step{
		Name: st.Name, Command: st.Command, Args: st.Args, Env: st.Env,
		Condition: string(st.If), ContinueOnFailure: st.ContinueOnFailure, Timeout: int64(st.Timeout),
	}
	if st.Script != nil {
		w.ScriptSha256, w.Script = st.Script.SHA256, st.Script.Source
	}
	return w
}

func toStep(w *Step) job.OrderStep {
	st := job.OrderStep{
		Name: w.GetName(), Command: w.GetCommand(), Args: w.GetArgs(), Env: w.GetEnv(),
		If: job.StepIf(w.GetCondition()), ContinueOnFailure: w.GetContinueOnFailure(), Timeout: time.Duration(w.GetTimeout()),
	}
	if w.GetScriptSha256() != "" {
		st.Script = &job.OrderScript{SHA256: w.GetScriptSha256(), Source: w.GetScript()}
	}
	return st
}

// FromReport returns the wire form of r. What is longer than the bounds is cut.
func FromReport(r *job.Report) *Report {
	w := &Report{
		Task: FromTask(r.Task), Shard: uint32(r.Shard), Known: r.Known,
		State: string(r.State), Reason: Cut(strings.ToValidUTF8(r.Reason, "\uFFFD"), MaxReason),
		StartedAt: nanos(r.StartedAt), EndedAt: nanos(r.EndedAt), Spooled: r.Spooled, Returned: r.Returned,
		TokenEpoch: r.Token.Epoch, TokenRevision: r.Token.Revision, Term: r.Term, Instance: Cut(r.Instance, MaxInstance),
		Stdout: fromOutput(&r.Stdout), Stderr: fromOutput(&r.Stderr),
	}
	w.Verdict, w.After = string(r.Verdict), int64(r.After)
	if p := r.Progress; p != nil {
		w.Progress = &Progress{Percent: int32(max(0, min(p.Percent, 100))), Text: Cut(strings.ToValidUTF8(p.Text, "\uFFFD"), job.MaxProgressText)}
	}
	if len(r.Checkpoint) <= job.MaxCheckpoint {
		w.Checkpoint = r.Checkpoint
	}
	if e := r.Exit; e != nil {
		w.Exited = true
		w.ExitCode = exitCode(e.Code)
		w.Signal = Cut(e.Signal, MaxSignal)
		w.UserCpu, w.SystemCpu, w.MaxRss = int64(e.UserCPU), int64(e.SystemCPU), e.MaxRSS
	}
	for _, st := range r.Steps {
		w.Steps = append(w.Steps, &StepResult{
			Name: Cut(strings.ToValidUTF8(st.Name, "\uFFFD"), job.MaxNameLen), State: string(st.State), ExitCode: exitCode(st.ExitCode), Took: int64(max(0, min(time.Duration(st.Took), MaxTook))),
		})
	}
	return w
}

// ToReport reads the wire form of a report.
func ToReport(w *Report, minion job.MinionID) (job.Report, error) {
	id, err := ToTask(w.GetTask(), minion)
	if err != nil {
		return job.Report{}, err
	}
	r := job.Report{
		Task: id, Shard: job.ShardID(w.GetShard()), Known: w.GetKnown(),
		State: job.State(w.GetState()), Reason: w.GetReason(),
		StartedAt: instant(w.GetStartedAt()), EndedAt: instant(w.GetEndedAt()), Spooled: w.GetSpooled(), Returned: w.GetReturned(),
		Token: job.Token{Epoch: w.GetTokenEpoch(), Revision: w.GetTokenRevision()}, Term: w.GetTerm(), Instance: w.GetInstance(),
		Stdout: toOutput(w.GetStdout()), Stderr: toOutput(w.GetStderr()),
	}
	r.Verdict, r.After, r.Checkpoint = job.Verdict(w.GetVerdict()), job.Duration(w.GetAfter()), w.GetCheckpoint()
	if p := w.GetProgress(); p != nil {
		r.Progress = &job.Progress{Percent: int(p.GetPercent()), Text: p.GetText()}
	}
	if w.GetExited() {
		r.Exit = &job.Exit{
			Code: int(w.GetExitCode()), Signal: w.GetSignal(),
			UserCPU: job.Duration(w.GetUserCpu()), SystemCPU: job.Duration(w.GetSystemCpu()), MaxRSS: w.GetMaxRss(),
		}
	}
	for _, st := range w.GetSteps() {
		r.Steps = append(r.Steps, job.StepResult{
			Name: st.GetName(), State: job.State(st.GetState()), ExitCode: int(st.GetExitCode()), Took: job.Duration(st.GetTook()),
		})
	}
	return r, nil
}

// exitCode returns a code that the wire takes: no host has others.
func exitCode(code int) int32 { return int32(max(-255, min(code, 1<<16-1))) } // bounded here

func fromOutput(o *job.Output) *Output {
	if *o == (job.Output{}) {
		return nil
	}
	head, tail, cut := o.Head, o.Tail, o.Truncated
	if len(head) > job.MaxOutputPart {
		head, cut = strings.ToValidUTF8(head[:job.MaxOutputPart], ""), true
	}
	if over := len(tail) - job.MaxOutputPart; over > 0 {
		tail, cut = strings.ToValidUTF8(tail[over:], ""), true
	}
	return &Output{Head: []byte(head), Tail: []byte(tail), Bytes: o.Bytes, Truncated: cut}
}

func toOutput(w *Output) job.Output {
	if w == nil {
		return job.Output{}
	}
	return job.Output{Head: string(w.GetHead()), Tail: string(w.GetTail()), Bytes: w.GetBytes(), Truncated: w.GetTruncated()}
}
