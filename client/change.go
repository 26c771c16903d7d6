package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/carillon-cron/carillon/api"
)

// ErrEnded is a stream of changes that the server has ended, as one that goes down does.
var ErrEnded = errors.New("the stream of changes has ended")

// maxEventLine bounds a line of the stream of changes.
const maxEventLine = 64 << 10

// Changes calls fn with each topic under which something has changed that the caller may
// see, until ctx ends, or the server or the connection does, which is an
// [UnreachableError] or an [Error]. begun is called when the stream has begun: what changes
// from then on is told. Who begins again has to look at what changed meanwhile.
func (c Cluster) Changes(ctx context.Context, begun func(), fn func(api.Topic)) error {
	body, err := c.c.open(ctx, request{method: http.MethodGet, path: []string{"v1", "events"}})
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEventLine)
	started := false
	for lines.Scan() {
		if !started {
			started = true
			begun()
		}
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var change struct{ Topic api.Topic }
		if json.Unmarshal([]byte(data), &change) == nil && change.Topic != "" {
			fn(change.Topic)
		}
	}
	err = lines.Err()
	if err == nil {
		err = ErrEnded
	}
	return c.c.lost(ctx, err)
}
