package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
)

// recoverVerbs let a cluster go on after a restore.
type recoverVerbs struct{ *call }

// readLostAt reads --lost-at; zero: it was not given.
func readLostAt(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usagef("--lost-at %q: give an instant as in 2027-01-31T02:10:00Z", text)
	}
	return at, nil
}

func (rv recoverVerbs) recoverCommand() *cobra.Command {
	var req api.RecoverRequest
	var lostAt string
	cmd := &cobra.Command{
		Use: "recover", GroupID: groupCluster, Args: noArgs,
		Short: "Let a cluster go on after a restore, so that nothing runs twice",
		Long: "Let a cluster go on after a restore. All minions are asked what they have run since the\n" +
			"backup: that is recorded, and does not run again. What a minion may have run that does\n" +
			"not answer is recorded as indeterminate, if you accept that. The misfire policies\n" +
			"decide about the rest. Then the shards are released. See docs/disaster-recovery.md.",
		Example: "  carillon recover --dry-run\n  carillon recover --reason 'etcd was lost'\n  carillon recover --lost-at 2027-01-31T02:10:00Z --accept-unknown",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.LostAt, err = readLostAt(lostAt); err != nil {
				return err
			}
			req.Order = api.Order{By: rv.user(), Reason: rv.reason}
			out, err := rv.client.Cluster.Recover(cmd.Context(), req)
			if err != nil {
				return err
			}
			return rv.printRecovery(&out, &req)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&req.DryRun, "dry-run", false, "only show what would be done")
	flags.BoolVar(&req.AcceptUnknown, "accept-unknown", false, "do not wait for minions that do not answer: record what they may have run as indeterminate")
	flags.StringVar(&lostAt, "lost-at", "", "the `INSTANT` at which the cluster was lost: what was due after it has certainly not run (default: when it was restored)")
	flags.BoolVar(&req.Adopt, "adopt", false, "go on from what etcd holds, which went back without carillon restore; the cluster is held then, and to be recovered next")
	reasonFlag(cmd, &rv.reason)
	return cmd
}

func (rv recoverVerbs) printRecovery(r *api.Recovery, req *api.RecoverRequest) error {
	if rv.asObject() {
		return rv.printValue(r)
	}
	if req.Adopt {
		if req.DryRun {
			_, _ = fmt.Fprintf(rv.out, "epoch %d would begin, and the cluster be held\n", r.Epoch)
			return nil
		}
		_, _ = fmt.Fprintf(rv.out, "epoch %d has begun, and the cluster is held: see `carillon recover --dry-run` once the nodes are back\n", r.Epoch)
		return nil
	}
	_, _ = fmt.Fprintf(rv.out, "backup of %s, lost by %s: %s answered, %d did not\n", r.TakenAt.UTC().Format(time.RFC3339), r.LostAt.UTC().Format(time.RFC3339), numberOf(r.Answered, "minion"), len(r.Silent))
	_, _ = fmt.Fprintf(rv.out, "%d runs that the backup does not know (%d of them go on), %d indeterminate, %d left to misfire policies\n", r.Ran, r.Open, r.Indeterminate, r.Left)
	for _, m := range r.Silent {
		_, _ = fmt.Fprintf(rv.out, "silent: %s: %s\n", m.Minion, m.Reason)
	}
	unnamed := false
	for _, l := range r.Lost {
		name := l.UID.String()
		if l.Name != "" {
			name = l.Namespace + "/" + l.Name + " (" + name + ")"
		}
		_, _ = fmt.Fprintf(rv.out, "lost: job %s is not in the backup; it has run %s\n", name, numberOf(l.Runs, "time"))
		unnamed = unnamed || l.Name == ""
	}
	if unnamed {
		rv.note("no minion knows the name of such a job: the order is gone, which has it. `carillon diff -f DIR` names the jobs of your files that the cluster does not have; `carillon audit verify --file FILE` compares the audit with a node's audit file, which has what was applied since the backup")
	}
	if len(r.Jobs) > 0 {
		if err := printList(&rv.printer, r.Jobs, recoveredTable()); err != nil {
			return err
		}
	}
	if r.MoreJobs > 0 {
		rv.note("%d further jobs are not shown", r.MoreJobs)
	}
	if r.Done {
		_, _ = fmt.Fprintln(rv.out, "done: the cluster goes on")
	}
	return nil
}

func recoveredTable() table[api.RecoveredJob] {
	type recovered = api.RecoveredJob
	count := func(n func(recovered) int) func(recovered) string {
		return func(j recovered) string { return strconv.Itoa(n(j)) }
	}
	return table[recovered]{none: "no jobs", name: func(j recovered) string { return j.Namespace + "/" + j.Name }, columns: []column[recovered]{
		{head: "JOB", cell: func(j recovered) string { return j.Namespace + "/" + j.Name }},
		{head: "RAN", cell: count(func(j recovered) int { return j.Ran })},
		{head: "GO ON", cell: count(func(j recovered) int { return j.Open })},
		{head: "INDETERMINATE", cell: count(func(j recovered) int { return j.Indeterminate })},
		{head: "LEFT", cell: count(func(j recovered) int { return j.Left })},
		{head: "MISFIRE", cell: func(j recovered) string { return j.Policy }},
	}}
}
