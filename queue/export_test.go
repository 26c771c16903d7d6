package queue

// SeenRev is the revision of what the dispatcher knows; 0 when there is none.
func (q *Queue) SeenRev() int64 {
	q.mu.Lock()
	d := q.here
	q.mu.Unlock()
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rev
}
