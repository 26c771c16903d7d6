package guarded

import (
	"context"

	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Defaults lists the defaults of the namespaces whose defaults the caller may read.
func (c *Control) Defaults(ctx context.Context, namespace string) ([]job.Defaults, error) {
	all, err := c.behind.Defaults(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return shown(ctx, c, rights.Defaults, all, func(v *job.Defaults) (string, map[string]string) { return v.Namespace, v.Labels })
}

// DeleteDefaults deletes the defaults of a namespace.
func (c *Control) DeleteDefaults(ctx context.Context, key job.Key) error {
	if err := c.need(ctx, rights.Delete, rights.Defaults, key.Namespace, c.labelsOf(rights.Defaults, key), hidden("defaults", key)); err != nil {
		return err
	}
	return c.behind.DeleteDefaults(ctx, key)
}
