process PLAN_STACK {
    label 'process_single'

    input:
    tuple path(volumes), path(manifests)
    path metrics, stageAs: 'pair?/*'
    val manual
    path placed
    path config
    val flags

    output:
    path 'stack.json', emit: plan
    path 'published/stack/*.csv', emit: tables
    path 'blocks.csv', emit: blocks
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    plan_stack.py ${flags} --volumes ${volumes} ${metrics ? "--metrics ${metrics}" : ''} ${manual ? "--manual ${manual.join(' ')}" : ''} --placed ${placed} --config ${config} --plan stack.json --matches published/stack/z_matches.csv --decisions published/stack/stacking_decisions.csv --block_list blocks.csv
    """

    stub:
    """
    stub.sh stack.json published/stack/z_matches.csv published/stack/stacking_decisions.csv 'blocks.csv=id,block\\n0-0,0-0\\n1-1,1-1' plan_stack.provenance.json
    """
}
