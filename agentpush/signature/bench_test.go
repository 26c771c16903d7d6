package signature_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/job"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func typical() job.Order {
	return job.Order{
		Task: job.TaskID{Fire: job.FireID{At: 1, Trigger: job.TriggerSchedule}, Minion: "web-00001", Attempt: 1}, Shard: 17, Token: job.Token{Epoch: 1, Revision: 123456},
		Key: job.Key{Namespace: "ops", Name: "backup"}, RunID: "01J00000000000000000000000", Subject: "token ci", Author: "ada@example.org",
		Command: []string{"/usr/bin/restic", "backup", "/srv"}, Env: map[string]string{"RESTIC_REPOSITORY": "/backup", "TZ": "UTC"}, User: "backup",
		ScheduledAt: noon, NotAfter: noon.Add(time.Minute), Timeout: time.Hour,
	}
}

// What a signature costs for each order, by how many are sent together: different orders,
// and one for many minions.
func BenchmarkSign(b *testing.B) {
	c := newCluster(b)
	signer := signerOf(c.cert)
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("%d orders", n), func(b *testing.B) {
			o := typical()
			for b.Loop() {
				var d signature.Digests
				leaves := make([]signature.Hash, n)
				for i := range leaves {
					leaves[i] = signature.LeafOf(d.Of(&o), o.Task.Minion)
				}
				signed, err := signer.Sign(leaves)
				if err != nil {
					b.Fatal(err)
				}
				for i := range leaves {
					p := signed.Proof(i)
					p.Wire()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/order")
		})
	}
	const minions = 17_000
	b.Run("one for 17000 minions", func(b *testing.B) {
		o := typical()
		for b.Loop() {
			var d signature.Digests
			leaves := make([]signature.Hash, minions)
			digest := d.Of(&o)
			for i := range leaves {
				leaves[i] = signature.LeafOf(digest, o.Task.Minion)
			}
			signed, err := signer.Sign(leaves)
			if err != nil {
				b.Fatal(err)
			}
			for i := range leaves {
				p := signed.Proof(i)
				p.Wire()
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*minions), "ns/order")
	})
}

// What a minion's look at an order costs, of a batch that it has not seen, and of one
// that it has.
func BenchmarkCheck(b *testing.B) {
	c := newCluster(b)
	o := typical()
	check := signature.NewChecker("m", c.node)
	check.Learn(c.cert.Certificate[:1])
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("batches of %d", n), func(b *testing.B) {
			const batches = 64
			minions := make([]job.MinionID, n)
			for i := range minions {
				minions[i] = "m"
			}
			var all [batches][]*agentpb.Signature
			for i := range all {
				all[i] = signed(b, c.cert, &o, minions...)
			}
			i := 0
			for b.Loop() {
				if _, err := check.Check(&o, all[i/n%batches][i%n], noon); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
