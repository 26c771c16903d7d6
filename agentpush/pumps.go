package agentpush

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// pumps send what waits in channels to minions.
type pumps struct {
	*base
	life    *lifetime
	reports *reports
	// shares is told of answers that were sent.
	shares *shares
}

// kick starts a pump if there is something to send and none runs; the caller
// holds c.mu.
func (p *pumps) kick(c *channel) {
	s := c.session
	if s == nil || s.sending || !c.pending() {
		return
	}
	s.sending = true
	if !p.life.spawn(func() { p.run(c, s) }) {
		s.sending = false
	}
}

// run sends to the minion until there is nothing that may be sent. One pump
// runs per session at a time, so a minion that does not read holds up nobody
// else (I5).
func (p *pumps) run(c *channel, s *session) {
	for {
		c.mu.Lock()
		if c.session != s {
			s.sending = false
			c.mu.Unlock()
			return
		}
		frame, ends := p.next(c, p.now().UnixNano())
		if frame == nil {
			s.sending = false
		}
		c.mu.Unlock()
		p.reports.finish(ends)
		if frame == nil {
			return
		}
		if err := s.stream.Send(frame); err != nil {
			s.close(err)
			return
		}
		if t := frame.GetText(); t != nil {
			s.texts.give(sizeOf(t))
		}
		if a := frame.GetShared(); a != nil {
			p.shares.sent(s, a)
		}
	}
}

// next returns what is to be sent next, nil if nothing: control frames first
// (the welcome is the first of them), then acknowledgements, then the next
// offer if the slot is free (I3). The caller holds c.mu.
func (p *pumps) next(c *channel, now int64) (*agentpb.ToMinion, []ending) {
	s := c.session
	if len(s.control) > 0 {
		f := s.control[0]
		if s.control = s.control[1:]; len(s.control) == 0 {
			s.control = nil
		}
		return f, nil
	}
	if n := min(len(s.acks), ackBatch); n > 0 {
		f := &agentpb.ToMinion{Body: &agentpb.ToMinion_Ack{Ack: &agentpb.Ack{Tasks: s.acks[:n:n]}}}
		if s.acks = s.acks[n:]; len(s.acks) == 0 {
			s.acks = nil
		}
		return f, nil
	}
	if c.offered {
		return nil, nil
	}
	msgs, ends := c.topic.take(p.cfg.OfferMax, p.cfg.OfferBytes, now, p.clock())
	if len(msgs) == 0 {
		return nil, ends
	}
	c.offered, c.slot, c.offeredAt = true, msgs, now
	c.seq++
	p.met.offers.Inc()
	o := newOffer(c.seq, msgs, &s.signers)
	if by, ok := s.clock.lease.Bound(p.clock()); ok {
		o.Ahead = proto.Int64(int64(by))
	}
	return &agentpb.ToMinion{Body: &agentpb.ToMinion_Offer{Offer: o}}, ends
}

// newOffer makes an offer for a minion that was told of some signers already.
func newOffer(seq uint64, msgs []*message, told *told) *agentpb.Offer {
	o := &agentpb.Offer{Seq: seq}
	var orders, questions, cancels []*message
	for _, m := range msgs {
		switch b := m.body.(type) {
		case *agentpb.Order:
			o.Orders, orders = append(o.Orders, b), append(orders, m)
		case *agentpb.Question:
			o.Questions, questions = append(o.Questions, b), append(questions, m)
		case *agentpb.Cancel:
			o.Cancels, cancels = append(o.Cancels, b), append(cancels, m)
		}
	}
	o.Signatures, o.Certificates = told.signatures(slices.Concat(orders, questions, cancels))
	return o
}
