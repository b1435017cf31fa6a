/*-------------------------------------------------------------------------
 *
 * outcome.c
 *	  What became of a statement, in the terms of HTTP.
 *
 * The server's SQLSTATE decides the status, by its class where nothing more special is
 * in the table: 400 for wrong input, 403 for missing rights, 409 where the state of
 * things forbids it. 503 says that it may work later.
 *
 * Pure, but for the messages, which point into what is given.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/outcome.h"

#include <string.h>

/* The first line that fits counts. */
static const struct
{
	const char *sqlstate; /* its beginning */
	int status;
} statuses[] = {
	{"42501", 403}, /* insufficient_privilege */
	{"25006", 403}, /* read_only_sql_transaction */
	{"28P01", 401}, /* invalid_password, also of a role that is not there */
	{"28", 403},    /* invalid_authorization_specification: pg_hba.conf, NOLOGIN */
	{"3D000", 404}, /* invalid_catalog_name: no such database */
	{"P0002", 404}, /* no_data_found */
	{"57014", 504}, /* query_canceled: statement_timeout */
	{"53400", 409}, /* configuration_limit_exceeded: a queue is full */
	{"22", 400},    /* data_exception */
	{"42", 400},    /* syntax_error_or_access_rule_violation */
	{"0A", 400},    /* feature_not_supported */
	{"23", 409},    /* integrity_constraint_violation */
	{"40", 409},    /* transaction_rollback */
	{"55", 409},    /* object_not_in_prerequisite_state */
	{"08", 503},    /* connection_exception */
	{"53", 503},    /* insufficient_resources */
	{"57P", 503},   /* the server stops or starts */
};

static int
status_of(const char *sqlstate)
{
	for (int i = 0; i < (int) (sizeof(statuses) / sizeof(statuses[0])); i++)
		if (strncmp(sqlstate, statuses[i].sqlstate, strlen(statuses[i].sqlstate)) == 0)
			return statuses[i].status;
	return 500;
}

/* outcome_of_result says what a result means. */
void
outcome_of_result(const PGresult *result, Outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->result = result;
	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
	{
		outcome->status = 200;
		if (PQntuples(result) > 0 && PQnfields(result) > 0 && !PQgetisnull(result, 0, 0))
		{
			outcome->value = PQgetvalue(result, 0, 0);
			outcome->value_len = PQgetlength(result, 0, 0);
		}
		return;
	}
	outcome->sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	outcome->message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	outcome->detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	outcome->hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	if (outcome->message == NULL)
		outcome->message = "the statement could not be executed";
	outcome->status = outcome->sqlstate != NULL ? status_of(outcome->sqlstate) : 503;
	if (outcome->status == 503)
		outcome->retry_after = 1;
}

/*
 * outcome_of_failure says what it means that there is no connection. A server's
 * message is not shown where it says more than somebody without the right password
 * should know.
 */
void
outcome_of_failure(const BackendFailure *failure, Outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->sqlstate = failure->sqlstate;
	outcome->said = failure->message;
	if (failure->unasked)
	{
		outcome->status = 403;
		outcome->unasked = true;
		outcome->message = "the server did not ask for the password";
		outcome->hint = "Sign-in needs a line in pg_hba.conf with a method that asks for "
						"a password, as scram-sha-256.";
		return;
	}
	outcome->status = failure->sqlstate[0] != '\0' ? status_of(failure->sqlstate) : 503;
	outcome->refused = outcome->status == 401;
	if (outcome->status == 404)
		outcome->message = "there is no such database";
	else if (outcome->status == 403)
		outcome->message = strncmp(failure->sqlstate, "28", 2) == 0
							   ? "the server refuses the role in this database"
							   : "permission denied for database";
	else if (outcome->refused)
		outcome->message = "the server refuses the role or its password";
	else
	{
		outcome->status = failure->late ? 504 : 503;
		outcome->message = failure->late ? "the server does not answer"
										 : "there is no connection to the server";
		outcome->retry_after = 1;
	}
}
