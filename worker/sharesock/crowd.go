package sharesock

// crowd counts connections, in all and of each account.
type crowd struct {
	most, each int
	all        int
	of         map[uint32]int
}

func newCrowd(most, each int) crowd { return crowd{most: most, each: each, of: map[uint32]int{}} }

// enter counts one of an account, unless there are too many.
func (c *crowd) enter(uid uint32) bool {
	if c.all >= c.most || c.of[uid] >= c.each {
		return false
	}
	c.all++
	c.of[uid]++
	return true
}

func (c *crowd) leave(uid uint32) {
	c.all--
	if c.of[uid]--; c.of[uid] == 0 {
		delete(c.of, uid)
	}
}
