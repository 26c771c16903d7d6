package historytest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Epoch is the scheduled instant of run 0 of every job that Run makes.
var Epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// UID returns the UID of the job that Run gives this address.
func UID(key job.Key) job.UID {
	sum := sha256.Sum256([]byte(key.String()))
	return job.UID(sum[:16])
}

// Run returns the record of a job's nth run, due n seconds after Epoch, with
// one task and 100 bytes of output.
func Run(key job.Key, n int) job.Run {
	at := Epoch.Add(time.Duration(n) * time.Second)
	fire := job.FireID{Job: UID(key), At: at.UnixNano(), Trigger: job.TriggerSchedule}
	sum := sha256.Sum256([]byte(fire.String()))
	// Times and numbers vary as they do in life, so that sizes can be measured.
	jitter := func(i int, span time.Duration) time.Duration {
		return time.Duration(sum[i])<<8*span/65536 + time.Duration(sum[i+1])*time.Microsecond
	}
	started := at.Add(jitter(0, 5*time.Millisecond))
	ended := started.Add(jitter(2, 300*time.Millisecond))
	out := fmt.Sprintf("backed up %d rows of %s to snapshot %x in %s\n", int(sum[5])<<8, key.Name, sum[6:12], ended.Sub(started))
	out += strings.Repeat(".", max(0, 100-len(out)))
	return job.Run{
		RunID: fire.RunID(), FireID: fire, Namespace: key.Namespace, Job: key.Name,
		Trigger: fire.Trigger.String(), State: job.StateSucceeded, Attempt: 1,
		Node: "node-1", Shard: job.ShardID(sum[20] % 64), Token: job.Token{Epoch: 1, Revision: 4711},
		ScheduledAt: at, CommittedAt: at.Add(-jitter(12, 400*time.Millisecond)), DispatchedAt: at,
		StartedAt: started, EndedAt: ended, Count: 1,
		Tasks: []job.Task{{
			Minion: job.MinionID(fmt.Sprintf("host-%03d", sum[13])), Attempt: 1, State: job.StateSucceeded,
			StartedAt: started, EndedAt: ended,
			Exit: &job.Exit{
				UserCPU: job.Duration(jitter(14, 50*time.Millisecond)), SystemCPU: job.Duration(jitter(16, 20*time.Millisecond)),
				MaxRSS: int64(sum[18]) << 14,
			},
			Stdout: job.Output{Head: out, Bytes: int64(len(out))},
		}},
	}
}
