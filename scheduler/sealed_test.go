package scheduler

import (
	"testing"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// An order has the sealed text of the secrets that its job names, as it is when the order
// is sent; without one there is no order.
func TestOrdersCarrySealedSecrets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := job.Key{Namespace: "t", Name: "pw"}
	put := func(text string) {
		b.place(b.keys.JobSecret(key), etcdkv.StoredSecret{Schema: 1, Secret: job.Secret{Metadata: job.Metadata{Namespace: "t", Name: "pw"}, Spec: job.SecretSpec{Sealed: text}}})
	}
	env := func(name string) job.Spec {
		return job.Spec{Command: []string{"x"}, Env: map[string]job.EnvValue{"PW": {Secret: &job.SecretRef{Name: name}, Mask: true}}}
	}
	put("first")
	j, without := b.put("j", env("pw")), b.put("without", env("other"))
	b.start("n")
	for _, text := range []string{"first", "second"} {
		put(text)
		b.until("the node has heard of it", func() bool {
			run := b.ask(j, nil)
			o := b.w.sent(&run).Secrets["PW"]
			return o.Sealed == text && o.Secret.Name == "pw" && o.Mask
		})
	}
	if run := b.ask(without, nil); run.Tasks[0].State != job.StateRejected || run.Tasks[0].Reason != `the order cannot be made: there is no secret "other" in namespace "t"; make it by carillon secret create` {
		t.Errorf("%+v", run.Tasks)
	}
}
