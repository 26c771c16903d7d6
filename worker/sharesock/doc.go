// Package sharesock is the socket of a minion by which commands of jobs ask for what they
// share with other tasks (package handler/shared): one JSON object a line, and one for each
// answer.
//
//	command --line with its token--> Server --> Deps.Ask
//
// # Invariants
//
//	T1  A line is answered if its token is that of a task, made by this minion, for the
//	    account that the kernel says is at the other end; root may use any. What task it
//	    is follows from the token alone.
//	T2  A token is the name of the task and the number of the account, with a code by a key
//	    that only the minion reads. So it holds for as long as the task is open, also for
//	    the minion's next process, and nothing has to be kept of it.
//	T3  What processes say is bounded: lines of MaxLine bytes, MaxConns connections, of
//	    which one account has AccountConns at most, one request at a time on each. Those
//	    that have shown no token are counted apart (MaxStrangers, AccountStrangers), and
//	    end after TokenWait: without a token nobody closes the socket to others.
//	T4  A request ends with its connection.
//
// Not in it: whether the task is open, and what it may ask, which is the cluster's to say.
//
//	failure                           what happens
//	a process says what is no line    it is told what is wrong, and its connection ends
//	a process does not read           after WriteTimeout its connection ends
//	the minion is replaced            connections end; clients come again, with the same token
//	the key cannot be read            there is no socket, and tasks are given no token
package sharesock
