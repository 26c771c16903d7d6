package etcd

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// foldedField is the field of a record's JSON with the instants of a row: each but the
// first as how long after the one before it. A run has no such field.
const foldedField = "foldedNanos"

// rowOf returns a record that did not run as a row. Nil: it cannot be one, or a part of one.
func rowOf(rec *etcdkv.SegmentRecord) *history.Row {
	if history.ClassOf(rec.State) != history.NotRun {
		return nil
	}
	run, err := rec.Decode()
	if err != nil {
		return nil
	}
	var more struct {
		Gaps []int64 `json:"foldedNanos"`
	}
	if err := json.Unmarshal([]byte(rec.Run), &more); err != nil {
		return nil
	}
	at := []int64{rec.At}
	for _, gap := range more.Gaps {
		at = append(at, at[len(at)-1]+gap)
	}
	if single := run.Count <= 1; single && !history.Single(&run) || !single && len(at) != run.Count {
		return nil
	}
	return &history.Row{Run: run, Instants: at}
}

// lastOf returns the last instant that a record stands for.
func lastOf(rec *etcdkv.SegmentRecord) int64 {
	if row := rowOf(rec); row != nil {
		return row.Instants[len(row.Instants)-1]
	}
	return rec.At
}

// recordOfRow returns the record of a row. first is that of its first occurrence: fields
// that this release does not know are that one's.
func recordOfRow(r *history.Row, first *etcdkv.SegmentRecord) (etcdkv.SegmentRecord, error) {
	if len(r.Instants) == 1 {
		return *first, nil
	}
	known, err := r.Run.MarshalJSON()
	if err != nil {
		return etcdkv.SegmentRecord{}, fmt.Errorf("encode run %s: %w", r.Run.RunID, err)
	}
	fields := map[string]json.RawMessage{}
	for _, text := range []string{first.Run, string(known)} {
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			return etcdkv.SegmentRecord{}, fmt.Errorf("row of run %s: %w", r.Run.RunID, err)
		}
	}
	gaps := make([]int64, len(r.Instants)-1)
	for i := range gaps {
		gaps[i] = r.Instants[i+1] - r.Instants[i]
	}
	if fields[foldedField], err = json.Marshal(gaps); err != nil {
		return etcdkv.SegmentRecord{}, fmt.Errorf("row of run %s: %w", r.Run.RunID, err)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return etcdkv.SegmentRecord{}, fmt.Errorf("row of run %s: %w", r.Run.RunID, err)
	}
	out := *first
	out.Run = string(text)
	return out, nil
}

// kept is a record that stays. old: it did not run, and there are Keep newer ones of its
// job, so that it becomes part of a row with its neighbours (H7).
type kept struct {
	walk

	old bool
	// newer is the next newer record of the job, if that is old as well.
	newer walk
}

// rowsOf counts the rows that old records of a job make.
type rowsOf struct {
	last  walk
	cause *job.Run
	n     int
	rows  int
}

// end ends the row: what comes next is not its neighbour.
func (o *rowsOf) end() { o.last, o.cause = walk{}, nil }

// take takes the next older record. It returns the one that it makes a row with, if any,
// and whether no more than most rows are there with it.
func (o *rowsOf) take(w walk, most int) (newer walk, room bool) {
	row := rowOf(w.record())
	if row != nil && o.cause != nil && o.n+len(row.Instants) <= history.MaxRow && history.SameCause(o.cause, &row.Run) {
		newer = o.last
		o.last, o.n = w, o.n+len(row.Instants)
		return newer, o.rows <= most
	}
	o.end()
	o.rows++
	if row != nil {
		o.last, o.cause, o.n = w, &row.Run, len(row.Instants)
	}
	return walk{}, o.rows <= most
}

// folded returns the records of what is kept, with rows in the place of old ones that join
// one another, in the order of lists.
func folded(all []kept) ([]etcdkv.SegmentRecord, error) {
	type open struct {
		row   *history.Row
		first etcdkv.SegmentRecord
		last  walk
	}
	rows := map[job.UID]*open{}
	var out []etcdkv.SegmentRecord
	end := func(o *open) error {
		if o == nil {
			return nil
		}
		rec, err := recordOfRow(o.row, &o.first)
		out = append(out, rec)
		return err
	}
	for i := range all { // newest first
		rec := *all[i].record()
		rec.Rev = all[i].rev()
		if !all[i].old {
			out = append(out, rec)
			continue
		}
		row, had := rowOf(&rec), rows[rec.Job]
		if had != nil && row != nil && all[i].newer == had.last && had.row.Precede(row) {
			rec.Rev = max(rec.Rev, had.first.Rev)
			had.first, had.last = rec, all[i].walk
			continue
		}
		if err := end(had); err != nil {
			return nil, err
		}
		delete(rows, rec.Job)
		if row == nil {
			out = append(out, rec)
			continue
		}
		rows[rec.Job] = &open{row, rec, all[i].walk}
	}
	for _, o := range rows {
		if err := end(o); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b etcdkv.SegmentRecord) int { return a.Compare(&b) })
	return out, nil
}

// idBuckets tells most jobs apart by their run ids.
const idBuckets = 1 << 30

// inRow finds the row that stands for a run, among open segments. Nil: there is none.
func inRow(segs []*segment, id job.RunID) *etcdkv.SegmentRecord {
	for _, seg := range segs {
		for i := range seg.records {
			rec := &seg.records[i]
			if history.ClassOf(rec.State) != history.NotRun || rec.ID.Bucket(idBuckets) != id.Bucket(idBuckets) {
				continue // of another job
			}
			if row := rowOf(rec); row != nil && len(row.Instants) > 1 && row.Holds(id) {
				return rec
			}
		}
	}
	return nil
}
