// Package model explores the rules of a delivery: what can become of a message, its log item, its config and the
// sweep, whatever fails and in whatever order things happen.
//
// The world of the model is the platform of deliverytest (clock, log, queues) and the functions at work in it. A
// function is the real delivery.Deliverer or delivery.Sweeper: it runs until it calls the platform, and what it has
// been answered so far is all that is remembered of it. So a world is a value that can be cloned, and each of its
// moves tried: let a call take place, with a fault or without; receive a message; sweep; let time pass; send a
// duplicate, resend, redrive, change the config. How many of the costly moves a run may make is its budget.
//
// TestModel makes all moves of all worlds within small budgets, each world once; and random ones within large
// budgets, with outages, before it goes on without further faults. Every call and every answer is held against the
// invariants of ledger_test.go, and every run must end where settled says. How often each clause of the rules was
// taken is counted; with -depth 3, as make model runs it, each must have been taken a hundred times. TestMutants turns
// one safeguard after the other off and expects the model, or the test that it names, to fail; the table of ../README.md
// says what noticed each.
//
// Two things are not in the model: batches of several deliveries, whose results share a write, and the bytes on
// the wire. The tests of package delivery and the soak have them.
package model
