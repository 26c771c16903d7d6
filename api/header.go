package api

// HoldsFromHeader is the header of an answer that says from where on an order holds,
// as a time of RFC 3339.
const HoldsFromHeader = "Carillon-Holds-From"
