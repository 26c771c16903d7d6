package app

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/singleflight"

	"github.com/carillon-cron/carillon/agentpush"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// textBytes bounds the texts that a node keeps in memory.
const textBytes = 16 << 20

// texts reads the texts of scripts from etcd, once for all minions that ask at
// the same time, and keeps those that were asked for last.
type texts struct {
	client *clientv3.Client
	keys   etcdkv.Keys
	flight singleflight.Group
	limit  int

	mu sync.Mutex
	// mu guards the following: the texts, the one used last in front.
	order *list.List
	known map[string]*list.Element
	bytes int
}

var _ agentpush.Texts = (*texts)(nil)

func newTexts(client *clientv3.Client, keys etcdkv.Keys) *texts {
	return &texts{client: client, keys: keys, limit: textBytes, order: list.New(), known: map[string]*list.Element{}}
}

// Text implements agentpush.Texts.
func (t *texts) Text(ctx context.Context, sum string) (string, error) {
	if text, ok := t.lookup(sum); ok {
		return text, nil
	}
	v, err, _ := t.flight.Do(sum, func() (any, error) {
		resp, err := t.client.Get(ctx, t.keys.Blob(sum))
		if err != nil {
			return "", fmt.Errorf("text %.12s: %w", sum, err)
		}
		if len(resp.Kvs) == 0 {
			return "", fmt.Errorf("text %.12s: %w", sum, job.ErrNotFound)
		}
		text := string(resp.Kvs[0].Value)
		if job.ScriptSum(text) != sum {
			return "", fmt.Errorf("text %.12s: what is stored under its hash is another text", sum)
		}
		t.keep(sum, text)
		return text, nil
	})
	text, _ := v.(string)
	return text, err
}

func (t *texts) lookup(sum string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.known[sum]
	if !ok {
		return "", false
	}
	t.order.MoveToFront(e)
	text, ok := e.Value.(string)
	return text, ok
}

func (t *texts) keep(sum, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.known[sum]; ok {
		return
	}
	t.known[sum] = t.order.PushFront(text)
	for t.bytes += len(text); t.bytes > t.limit && t.order.Len() > 1; {
		last := t.order.Back()
		old, _ := t.order.Remove(last).(string)
		delete(t.known, job.ScriptSum(old))
		t.bytes -= len(old)
	}
}
