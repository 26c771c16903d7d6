package control

import (
	"context"
	"fmt"
	"io"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Standing is what a cluster is to another one (package standby).
type Standing interface {
	Standby(ctx context.Context) (api.Standby, error)
	FollowActive(ctx context.Context, req api.FollowRequest) (api.Followed, error)
	StopFollowing(ctx context.Context, o api.Order) error
	PromoteCluster(ctx context.Context, req api.PromoteRequest) (api.Promotion, error)
	Mirror(ctx context.Context, req api.MirrorRequest, w io.Writer) error
	HandOver(ctx context.Context, o api.Order) (api.HandedOver, error)
	Overtaken(ctx context.Context, req api.OvertakenRequest) (api.Standby, error)
}

// SetStanding has another room answer what the cluster is to others, which stands on this
// Control. It is called once, before anybody asks.
func (c *Control) SetStanding(s Standing) { c.Standing = s }

// nowhere is Standing where there is none.
type nowhere struct{}

var errNowhere = fmt.Errorf("this node knows of no other cluster: %w", job.ErrUnavailable)

func (nowhere) Standby(context.Context) (api.Standby, error) { return api.Standby{}, errNowhere }

func (nowhere) FollowActive(context.Context, api.FollowRequest) (api.Followed, error) {
	return api.Followed{}, errNowhere
}

func (nowhere) StopFollowing(context.Context, api.Order) error { return errNowhere }

func (nowhere) PromoteCluster(context.Context, api.PromoteRequest) (api.Promotion, error) {
	return api.Promotion{}, errNowhere
}

func (nowhere) Mirror(context.Context, api.MirrorRequest, io.Writer) error { return errNowhere }

func (nowhere) HandOver(context.Context, api.Order) (api.HandedOver, error) {
	return api.HandedOver{}, errNowhere
}

func (nowhere) Overtaken(context.Context, api.OvertakenRequest) (api.Standby, error) {
	return api.Standby{}, errNowhere
}
