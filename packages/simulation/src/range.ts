import { is } from "@rollcall/core";

/** The largest number that a scenario may name, but for `Infinity`: as milliseconds it is more than eleven days. */
export const MOST = 1e9;

/** A positive number with which one can calculate: what comes of two of them is neither 0 nor infinite. */
export const POSITIVE = is.number(1e-9, MOST);
