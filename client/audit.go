package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/carillon-cron/carillon/api"
)

// Audit is the records of what people did.
type Audit struct{ c *conn }

// List returns the records that q selects, newest first. When there are more, Next asks
// for those that come after.
func (a Audit) List(ctx context.Context, q api.AuditQuery) (api.AuditPage, error) {
	v := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	set(v, "by", q.By)
	set(v, "action", q.Action)
	set(v, "object", q.Object)
	set(v, "after", q.After)
	setTime(v, "since", q.Since)
	setTime(v, "until", q.Until)
	var out api.AuditPage
	err := a.c.get(ctx, &out, v, "audit")
	return out, err
}

// Sealed returns the next records that are sealed, after a segment; of those since a
// time, unless that is zero. After -1 there are none: Last tells where to go on.
func (a Audit) Sealed(ctx context.Context, after int64, since time.Time) (api.AuditFeed, error) {
	v := url.Values{"after": {strconv.FormatInt(after, 10)}}
	setTime(v, "since", since)
	var out api.AuditFeed
	err := a.c.get(ctx, &out, v, "audit", "sealed")
	return out, err
}

// Verify has all records checked: whether some were changed, removed or put in later.
// A segment whose hash is known from elsewhere is compared with it; 0: none is.
func (a Audit) Verify(ctx context.Context, segment int64, sha256 string) (api.AuditVerdict, error) {
	v := url.Values{}
	if segment != 0 {
		v.Set("segment", strconv.FormatInt(segment, 10))
		v.Set("sha256", sha256)
	}
	var out api.AuditVerdict
	err := a.c.get(ctx, &out, v, "audit", "verify")
	return out, err
}

func setTime(q url.Values, name string, at time.Time) {
	if !at.IsZero() {
		q.Set(name, at.UTC().Format(time.RFC3339Nano))
	}
}
