package etcd

import (
	"container/list"
	"sync"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// cache keeps the decoded segments that were used last, up to a number of bytes.
type cache struct {
	limit int64

	// mu guards what follows.
	mu    sync.Mutex
	bytes int64
	// order has the *cached used last in front.
	order *list.List
	items map[string]*list.Element
}

type cached struct {
	key     string
	modRev  int64
	records []etcdkv.SegmentRecord
	bytes   int64
}

// recordOverhead is the size of a decoded record, its texts excepted.
const recordOverhead = 120

func newCache(limit int64) *cache {
	return &cache{limit: limit, order: list.New(), items: map[string]*list.Element{}}
}

// get returns the records of a segment, or nil.
func (c *cache) get(key string, modRev int64) []etcdkv.SegmentRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok || item(e).modRev != modRev {
		return nil
	}
	c.order.MoveToFront(e)
	return item(e).records
}

// put adds a segment and drops those that were not used for longest.
func (c *cache) put(key string, modRev int64, records []etcdkv.SegmentRecord) {
	n := &cached{key: key, modRev: modRev, records: records, bytes: int64(len(records)) * recordOverhead}
	for i := range records {
		n.bytes += int64(records[i].Size())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.drop(e)
	}
	c.items[key] = c.order.PushFront(n)
	c.bytes += n.bytes
	for c.bytes > c.limit && c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
}

// drop removes an element; mu must be held.
func (c *cache) drop(e *list.Element) {
	c.order.Remove(e)
	delete(c.items, item(e).key)
	c.bytes -= item(e).bytes
}

func item(e *list.Element) *cached { return e.Value.(*cached) }
