"""A CDK app with one empty stack: what every synthesis takes at least."""

import aws_cdk as cdk

app = cdk.App()
cdk.Stack(app, "empty")
app.synth()
