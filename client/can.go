package client

import (
	"context"
	"maps"
	"net/url"
	"slices"

	"github.com/carillon-cron/carillon/api"
)

// CanI tells whether who asks may do something.
func (a Auth) CanI(ctx context.Context, req api.CanIRequest) (api.CanI, error) {
	query := url.Values{"verb": {req.Verb}, "resource": {req.Resource}}
	set(query, "namespace", req.Namespace)
	for _, k := range slices.Sorted(maps.Keys(req.Labels)) {
		query.Add("label", k+"="+req.Labels[k])
	}
	for _, word := range req.Command {
		query.Add("command", word)
	}
	set(query, "runAs", req.RunAs)
	set(query, "target", req.Target)
	var out api.CanI
	err := a.c.get(ctx, &out, query, "auth", "can-i")
	return out, err
}
