select '{{' ;
