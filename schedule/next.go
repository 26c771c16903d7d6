package schedule

import "time"

// firstInstant and lastInstant bound the instants, in seconds since 1970: what
// fits nanoseconds in 64 bits, in whole years.
const (
	firstInstant = -8520336000 // 1700-01-01T00:00:00Z
	lastInstant  = 9214646399  // 2261-12-31T23:59:59Z
)

// Next returns the first instant strictly after the given one, in UTC; false
// when there is none. It does not allocate.
func (s *Schedule) Next(after time.Time) (time.Time, bool) {
	switch s.kind {
	case kindEvery:
		return s.nextEvery(after)
	case kindAt:
		at := time.Unix(0, s.nanos)
		return at.UTC(), at.After(after)
	case kindFields:
	}
	return s.nextFields(after, lastInstant)
}

// NextBy is Next for instants up to and with last. It looks no further, so it
// is quick where last is near, whatever the expression.
func (s *Schedule) NextBy(after, last time.Time) (time.Time, bool) {
	if s.kind != kindFields {
		at, ok := s.Next(after)
		return at, ok && !at.After(last)
	}
	at, ok := s.nextFields(after, min(last.Unix(), lastInstant))
	return at, ok && !at.After(last)
}

// nextFields looks for instants up to last.
func (s *Schedule) nextFields(after time.Time, last int64) (time.Time, bool) {
	from := max(after.Unix()+1, firstInstant)
	if s.loc == time.UTC {
		w, ok := s.fields.next(from, last)
		return time.Unix(w, 0).UTC(), ok && w <= last
	}
	at, ok := s.nextInZone(from, last)
	return time.Unix(at, 0).UTC(), ok && at <= last
}

// nextEvery returns the first multiple of the interval since 1970.
func (s *Schedule) nextEvery(after time.Time) (time.Time, bool) {
	if sec := after.Unix(); sec < firstInstant {
		after = time.Unix(firstInstant, 0)
	} else if sec >= lastInstant {
		return time.Time{}, false
	}
	next := time.Unix(0, (floorDiv(after.UnixNano(), s.nanos)+1)*s.nanos).UTC()
	return next, next.Unix() <= lastInstant
}

// nextInZone returns the first instant that is not before from. It goes from
// one offset of the zone to the next, and searches each by the wall clock. It
// does not go far beyond last.
func (s *Schedule) nextInZone(from, last int64) (int64, bool) {
	limit := last + maxJump // on any wall clock
	for from <= last {
		sp := spanAt(s.loc, from)
		low := from + sp.offset
		shifted := int64(lastInstant + 1)
		if from-sp.start < maxJump && sp.start > firstInstant { // S2
			before := offsetAt(s.loc, sp.start-1)
			switch {
			case before < sp.offset && s.jumps&(skipGap|shiftGap) == 0 && from == sp.start:
				if w, ok := s.fields.next(sp.start+before, limit); ok && w < low {
					return sp.start, true
				}
			case before < sp.offset && s.jumps&shiftGap != 0:
				if w, ok := s.fields.next(from+before, limit); ok && w < sp.start+sp.offset {
					shifted = w - before
				}
			case before > sp.offset && s.jumps&runSecond == 0:
				low = max(low, sp.start+before) // what came before comes twice
			}
		}
		w, ok := s.fields.next(low, limit)
		if !ok {
			return shifted, shifted <= lastInstant
		}
		at := min(w-sp.offset, shifted)
		if at < sp.end && (at == shifted || !s.comesAgain(sp, w)) {
			return at, at <= lastInstant
		}
		// Nothing matches from low to w, on no offset: go near w. Close to the
		// end of the span, though, the next one may show times before low.
		if sp.end-from < maxJump || at < sp.end {
			from = sp.end
		} else {
			from = max(sp.end, at-maxJump)
		}
	}
	return 0, false
}

// comesAgain reports whether a time on the wall clock, which the span shows, is
// left to the next span, because the schedule runs what comes twice the second
// time.
func (s *Schedule) comesAgain(sp span, w int64) bool {
	if s.jumps&runFirst != 0 || sp.end > lastInstant {
		return false
	}
	next := spanAt(s.loc, sp.end)
	return w >= sp.end+next.offset && w < next.end+next.offset
}
