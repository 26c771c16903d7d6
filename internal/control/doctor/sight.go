package doctor

import (
	"context"

	"github.com/carillon-cron/carillon/internal/rights"
)

// sight tells which names the caller may be told: who may read the cluster may not
// read all jobs of it.
type sight func(k rights.Kind, namespace string, labels map[string]string) bool

func (c *Checker) sight(ctx context.Context) (sight, error) {
	s, err := c.rights.Of(ctx)
	if err != nil {
		return nil, err
	}
	return func(k rights.Kind, namespace string, labels map[string]string) bool {
		r := rights.Request{Verb: rights.Read, Kind: k, Namespace: namespace, Labels: labels}
		return s.May(r) || !s.Hide(r)
	}, nil
}

// askWhoMay is what one can do about what one may not be told of.
const askWhoMay = "ask who may see them"

// hiddenName stands for a name that the caller may not be told.
const hiddenName = "(hidden)"
